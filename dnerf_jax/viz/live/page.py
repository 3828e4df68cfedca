"""A page of this machine that shows something in space, by viser: its server, and where a page's cameras stand.

The camera of a page is a quaternion (w, x, y, z) and a position, camera to world in OpenCV axes as ours are, and a
vertical field of view.
"""

import contextlib
import html
import io
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dnerf_jax.ops import poses
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap

HOST = "127.0.0.1"


@contextlib.contextmanager
def opened(title: str, port: int) -> Iterator[Any]:
    """A viser server that only this machine reaches, its world ours: y up.

    port: 0 is any that is free. Raises ValueError: it is taken; ImportError, naming the extra, without viser.
    """
    try:
        import viser
    except ImportError as error:
        raise ImportError(f"the viewer needs viser ({error}): pip install dnerf_jax[view]") from error
    with socket.socket() as asked:  # viser itself would take another port, and say nothing
        try:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            asked.bind((HOST, port))
        except OSError as error:
            raise ValueError(f"the port {port} cannot be had ({error.strerror}): give another, --port 0 any") from error
    with contextlib.redirect_stdout(io.StringIO()):  # a banner
        server = viser.ViserServer(host=HOST, port=port, label=title, verbose=False)
    try:
        server.gui.configure_theme(show_logo=False, show_share_button=False)
        server.gui.main_panel.dock_right()
        server.scene.set_up_direction("+y")
        yield server
    finally:
        server.stop()


def tell(server: Any) -> None:
    """Says where the page is."""
    print(f"open http://{HOST}:{server.get_port()} in a browser; Ctrl-C ends it", flush=True)


def camera_of(wxyz: ArrayLike, position: ArrayLike, fov: float) -> Camera:
    """Our camera, NumPy float32, of a page's: quaternion (4,), position (3,), field of view in radians."""
    cam2world = np.eye(4)
    cam2world[:3, :3], cam2world[:3, 3] = poses.from_quaternion(wxyz), np.asarray(position)
    focal = 0.5 / np.tan(fov / 2)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return Camera(cam2world.astype(np.float32), intrinsics.astype(np.float32))


def aim_of(camera: Camera) -> tuple[np.ndarray, np.ndarray, float]:
    """The page's camera, see `camera_of`, of one of ours; what a page cannot have, a centre of its own, is left out."""
    cam2world = np.asarray(camera.cam2world, np.float64)
    fov = 2 * np.arctan(0.5 / float(camera.intrinsics[1, 1]))
    return poses.to_quaternion(cam2world[:3, :3]), cam2world[:3, 3], float(fov)


def legend(label_map: LabelMap) -> str:
    """The classes with their colours, as HTML."""
    entries = [
        f'<span style="display: inline-block; margin: 0 0.8em 0 0"><span style="display: inline-block; width: 0.8em;'
        f' height: 0.8em; background: rgb{color}"></span> {html.escape(name)}</span>'
        for name, color in zip(label_map.names, label_map.colors, strict=True)
    ]
    return f'<div style="padding: 0.3em 1em; font-size: 0.85em; line-height: 1.6">{"".join(entries)}</div>'
