"""A dataset in space, by viser: the cameras of an identity with what they saw, and its cloud or mesh."""

import threading
from typing import Any

import numpy as np

from dnerf_jax.factory.cards import samples
from dnerf_jax.factory.loading import Dataset, Record
from dnerf_jax.io import ply
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.viz.live import page, scene_page

_SIDE = 256  # pixels of a camera's picture
_CAMERAS = 60  # drawn of an identity at most
_POINTS = 200_000
_LENGTH = 0.45  # of a camera as it is drawn, of its distance from the middle


def show(dataset: Dataset, port: int) -> None:
    """Opens the page at a port, see `page.opened`, and says where; it stays until it is interrupted."""
    with page.opened(dataset.path.resolve().name, port) as server:
        SpacePage(server, dataset)
        page.tell(server)
        server.sleep_forever()


class SpacePage:
    """A viser server's page of a dataset.

    Raises ValueError: its views have nothing that could be drawn.
    """

    def __init__(self, server: Any, dataset: Dataset):
        self._server, self._dataset, self._lock = server, dataset, threading.Lock()
        self._drawn: list[Any] = []
        first = dataset[0]
        kinds = tuple(samples.drawn(dataset, first))
        if not kinds:
            raise ValueError(f"{dataset.path} has no pictures to show: its views have {sorted(dataset.forms)}")
        identities = len(dataset) // dataset.plan.views_per_identity
        solids = [name for name in ("points", "mesh") if name in dataset.plan.modalities]
        if samples.cloud(dataset, 0, 1) is None:
            solids = [name for name in solids if name != "points"]
        elif "points" not in solids:
            solids = ["points", *solids]  # of the views' depth
        gui = server.gui
        self._identity = gui.add_slider("Identity", 0, max(identities - 1, 1), 1, 0, disabled=identities == 1)
        self._kind = gui.add_dropdown("Cameras show", (*kinds, "nothing"), initial_value=kinds[0])
        self._solid = gui.add_dropdown("In the middle", (*solids, "nothing"))
        self._by_class = gui.add_checkbox("Colours of classes", dataset.label_map is not None)
        self._size = gui.add_slider("Size of cameras", 0.25, 3.0, 0.05, 1.0)
        back = gui.add_button("See all")
        self._about = gui.add_markdown("")
        if dataset.label_map is not None:
            gui.add_html(page.legend(dataset.label_map))
        distance = float(np.linalg.norm(first["cam2world"][:3, 3]))
        start = server.initial_camera
        start.position, start.look_at = np.array([1.35, 0.75, 0.95]) * distance, np.array([0.0, 0.0, 0.4]) * distance
        start.up, start.fov = (0.0, 1.0, 0.0), np.radians(50.0)
        for control in (self._identity, self._kind, self._solid, self._by_class, self._size):
            control.on_update(lambda _: self.draw())

        @back.on_click
        def _(event: Any) -> None:
            camera = event.client.camera
            camera.fov, camera.position, camera.look_at, camera.up_direction = (
                start.fov,
                start.position,
                start.look_at,
                start.up,
            )

        self.draw()

    def draw(self) -> None:
        """Draws what the controls ask for, in the place of what is there."""
        with self._lock, self._server.atomic():
            while self._drawn:
                self._drawn.pop().remove()
            place = min(int(self._identity.value), len(self._dataset) // self._dataset.plan.views_per_identity - 1)
            records = samples.views(self._dataset, place, _CAMERAS)
            for record in records:
                self._drawn.append(self._add_camera(record))
            told = f"Identity {records[0]['identity']}: {len(records)} cameras. A click on one looks through it."
            if self._solid.value != "nothing":
                solid = self._solid_of(place, records[0]["identity"])
                if solid is None:
                    told += " There is no cloud of it."
                else:
                    self._drawn.append(scene_page.add_solid(self._server, "/solid", solid, self._by_class.value))
            self._about.content = told

    def _solid_of(self, place: int, identity: int) -> Any:
        if self._solid.value == "points":
            return samples.cloud(self._dataset, place, _POINTS)
        return ply.decode_mesh(self._dataset.object("mesh", identity), source=f"the mesh of identity {identity}")

    def _add_camera(self, record: Record) -> Any:
        wxyz, position, fov = page.aim_of(Camera(record["cam2world"], record["intrinsics"]))
        picture = samples.drawn(self._dataset, record).get(self._kind.value)
        length = _LENGTH * float(self._size.value) * float(np.linalg.norm(position))
        handle = self._server.scene.add_camera_frustum(
            f"/cameras/{record['view']}",
            fov,
            1.0,
            scale=length * float(np.cbrt(np.tan(fov / 2) ** 2 / 3)),  # viser's is of a volume
            thickness=0.006 * length,
            image=None if picture is None else samples.thumbnail(picture, _SIDE),
            format="png",
            wxyz=wxyz,
            position=position,
        )

        @handle.on_click
        def _(event: Any) -> None:
            camera = event.client.camera
            camera.fov, camera.position, camera.wxyz = fov, position, wxyz

        return handle
