"""A page of this machine that shows something in space, by viser: its server, and where a page's cameras stand.

The camera of a page is a quaternion (w, x, y, z) and a position, camera to world in OpenCV axes as ours are, and a
vertical field of view. Pages have any shape and our pictures are square: as high as the page, in the middle of it.
"""

import contextlib
import html
import io
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dnerf_jax.models.generator import RenderingConfig
from dnerf_jax.ops import poses
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap

HOST = "127.0.0.1"
_BESIDE = (244, 244, 244)  # the page, to the sides of a picture


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
    except KeyboardInterrupt:
        print("\nended")
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
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


def spread(picture: np.ndarray, aspect: float) -> np.ndarray:
    """A square picture (R, R, 3) in the middle of a page whose width is `aspect` times its height, (R, W, 3)."""
    side = picture.shape[0]
    width = max(round(side * aspect), 1)
    if width <= side:
        left = (side - width) // 2
        return picture[:, left : left + width]
    whole = np.full((side, width, 3), _BESIDE, np.uint8)
    left = (width - side) // 2
    whole[:, left : left + side] = picture
    return whole


def orbit_distances(options: RenderingConfig) -> tuple[float, float]:
    """Between which distances from what it looks at a page's camera may be moved, in world units.

    Where rays are sampled between fixed distances a camera that stood elsewhere would see a part only: it stays on the
    generator's orbit, and its field of view changes instead.
    """
    offset = np.array(options.avg_camera_pivot) - (0, 0, options.avg_camera_radius)
    radius = float(np.linalg.norm(offset))
    return (radius, radius) if options.ray_start != "auto" else (min(radius, options.box_warp / 2), 4 * radius)


def standpoint(camera: Camera, options: RenderingConfig, reach: float) -> str:
    """Where a camera stands on the generator's orbit, in a sentence, and whether it has not been seen from there.

    reach: degrees from frontal, up to which the cameras of the generator's training stood.
    """
    x, y, z = np.asarray(camera.cam2world, np.float64)[:3, 3]
    distance = float(np.linalg.norm((x, y, z)))
    yaw, pitch = np.degrees([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))])
    found = [f"Yaw {yaw:.0f}°, pitch {pitch:.0f}°, {distance:.2f} units from the middle."]
    away = np.degrees(np.arccos(np.clip(z / max(distance, 1e-9), -1, 1)))
    if away > reach:
        found.append(f"**{away:.0f}° from frontal: beyond {reach:g}°, which training has not seen, it is made up.**")
    if abs(distance / options.avg_camera_radius - 1) > 0.1:
        found.append(f"**Cameras of the training were {options.avg_camera_radius:g} away.**")
    return " ".join(found)


def legend(label_map: LabelMap) -> str:
    """The classes with their colours, as HTML."""
    entries = [
        f'<span style="display: inline-block; margin: 0 0.8em 0 0"><span style="display: inline-block; width: 0.8em;'
        f' height: 0.8em; background: rgb{color}"></span> {html.escape(name)}</span>'
        for name, color in zip(label_map.names, label_map.colors, strict=True)
    ]
    return f'<div style="padding: 0.3em 1em; font-size: 0.85em; line-height: 1.6">{"".join(entries)}</div>'
