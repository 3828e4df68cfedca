"""The page of a generator or of one scene: turned by the mouse, changed by sliders, drawn while it moves.

Controls are one for all tabs, cameras are each tab's own. What is drawn, and how coarsely, `turns` says; one thread,
the one that calls `next`, does all of it.
"""

import pathlib
import time
from typing import Any

import numpy as np

from dnerf_jax.models import scenes
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.viz.live import page, sight
from dnerf_jax.viz.live.sight import Sight, Wanted
from dnerf_jax.viz.live.turns import Turns

SEEDS = 9999  # the last that a slider has
_ZOOM = 4.0  # at most


def show(seen: Sight, name: str, port: int) -> None:
    """Opens the page at a port, see `page.opened`, says where, and draws until it is interrupted.

    name: of what is shown, a path or a word.
    """
    with page.opened(pathlib.Path(name).resolve().name, port) as server:
        made = ScenePage(server, seen)
        page.tell(server)
        while True:
            made.next()


class ScenePage:
    """A viser server's page that shows what a `Sight` sees."""

    def __init__(self, server: Any, seen: Sight):
        self._server, self._sight = server, seen
        self._turns = Turns()
        self._told: dict[int, Any] = {}  # by tab
        self._options = seen.model.generator.config.rendering
        self._aim()
        self._add_controls()
        server.on_client_connect(self._join)
        server.on_client_disconnect(self._leave)

    def next(self) -> None:
        """Draws what is to be drawn next, for which it may have to wait."""
        tab, fine = self._turns.take()
        client = self._server.get_clients().get(tab)
        if client is not None:
            self.draw(client, fine=fine)

    def wanted(self) -> Wanted:
        """Which scene the controls ask for."""
        return Wanted(
            seed=0 if self._seed is None else int(self._seed.value),
            other=int(self._other.value),
            mix=float(self._mix.value),
            truncation=float(self._truncation.value),
            pose=0 if self._pose is None else int(self._pose.value),
        )

    def draw(self, client: Any, *, fine: bool) -> None:
        """Shows one tab what the controls ask for, from where its camera stands."""
        state, wanted, kind = client.camera, self.wanted(), self._kind.value
        camera = page.camera_of(state.wxyz, state.position, state.fov)
        about = page.standpoint(camera, self._options, self._sight.reach)
        begun = time.perf_counter()
        try:
            if kind in sight.SOLIDS:
                note = self._show_solid(client, wanted, kind) if fine else "..."
            else:
                view = self._sight.look(wanted, camera, fine=fine)
                picture = sight.picture(self._sight.model, view, kind)
                self._hide_solid()
                aspect = state.image_width / max(state.image_height, 1)
                client.scene.set_background_image(page.spread(picture, aspect), format="png" if fine else "jpeg")
                note = f"{picture.shape[0]} x {picture.shape[1]} pixels"
        except (ImportError, ValueError) as error:
            note = f"**{error}**"
        self._tell(client, f"{about} {note}, {time.perf_counter() - begun:.2f} s.")

    def _show_solid(self, client: Any, wanted: Wanted, kind: str) -> str:
        """Puts the cloud or mesh into the scene of all tabs; says what it has."""
        shown = (wanted, kind, self._by_class is not None and bool(self._by_class.value))
        client.scene.set_background_image(None)
        if shown != self._shown:
            self._hide_solid()
            self._tell(client, f"Making the {kind} ...")
            solid = self._sight.solid(wanted, kind)
            self._solid, self._shown = add_solid(self._server, "/solid", solid, shown[2]), shown
            self._about = (
                f"{len(solid):,} points"
                if isinstance(solid, PointCloud)
                else f"{len(solid.vertices):,} vertices, {len(solid.faces):,} triangles"
            )
        return self._about

    def _hide_solid(self) -> None:
        if self._solid is not None:
            self._solid.remove()
        self._solid = self._shown = None

    def _tell(self, client: Any, text: str) -> None:
        if client.client_id in self._told:
            self._told[client.client_id].content = text

    def _aim(self) -> None:
        """Tabs begin where the generator's default camera stands, and come back there."""
        _, position, fov = page.aim_of(scenes.default_camera(self._sight.model))
        start = self._server.initial_camera
        start.position, start.look_at, start.up = position, np.array(self._options.avg_camera_pivot), (0.0, 1.0, 0.0)
        start.fov = self._fov = fov

    def _add_controls(self) -> None:
        gui, poses = self._server.gui, self._sight.num_poses
        kinds = self._sight.kinds()
        self._solid, self._shown, self._about = None, None, ""
        self._kind = gui.add_dropdown("Show", kinds, initial_value=kinds[0])
        self._by_class = None
        if self._sight.model.semantic is not None:
            self._by_class = gui.add_checkbox("Colours of classes", True, hint="of the cloud and the mesh")
        self._seed = None
        if not self._sight.given:
            self._seed = gui.add_slider("Seed", 0, SEEDS, 1, 0)
        towards = "the scene" if self._sight.given else "the seed"
        self._mix = gui.add_slider("Mix", 0.0, 1.0, 0.01, 0.0, hint=f"0 is {towards}, 1 the other seed")
        self._other = gui.add_slider("Other seed", 0, SEEDS, 1, 1)
        self._truncation = gui.add_slider(
            "Truncation", 0.0, 1.0, 0.05, 1.0, hint="of the seeds: 1 is all of them, 0 the average"
        )
        self._pose = None
        if poses:
            self._pose = gui.add_slider("Pose", 0, poses, 1, 0, hint="0 is the canonical one; the others, training's")
        zoom = gui.add_slider("Zoom", 0.5, _ZOOM, 0.05, 1.0, hint="by the field of view: the camera stays")
        back = gui.add_button("To the front")
        if self._sight.model.semantic is not None and self._sight.model.label_map is not None:
            gui.add_html(page.legend(self._sight.model.label_map))
        for control in (self._kind, self._by_class, self._seed, self._mix, self._other, self._truncation, self._pose):
            if control is not None:
                control.on_update(lambda _: self._turns.touch(*self._server.get_clients()))

        @zoom.on_update
        def _(_: Any) -> None:
            fov = 2 * np.arctan(np.tan(self._fov / 2) / zoom.value)
            self._server.initial_camera.fov = fov
            for client in self._server.get_clients().values():
                client.camera.fov = fov

        @back.on_click
        def _(event: Any) -> None:
            start, camera = self._server.initial_camera, event.client.camera
            camera.position, camera.look_at, camera.up_direction = start.position, start.look_at, start.up

    def _join(self, client: Any) -> None:
        self._told[client.client_id] = client.gui.add_markdown("The first pictures are being compiled ...")
        least, most = page.orbit_distances(self._options)
        client.camera.min_orbit_distance, client.camera.max_orbit_distance = least, most
        client.camera.on_update(lambda _: self._turns.touch(client.client_id))
        self._turns.touch(client.client_id)

    def _leave(self, client: Any) -> None:
        self._told.pop(client.client_id, None)
        self._turns.leave(client.client_id)


def add_solid(server: Any, name: str, solid: PointCloud | Mesh, by_class: bool) -> Any:
    """Puts a cloud or a mesh into the scene of a page, and returns its handle."""
    colors = sight.colors_of(solid, by_class)
    if isinstance(solid, PointCloud):
        # Points of a surface touch each other, many or few.
        size = 0.6 * float(np.ptp(solid.points, axis=0).max()) / np.sqrt(len(solid.points))
        return server.scene.add_point_cloud(
            name,
            solid.points,
            colors,
            point_size=size,
            point_shape="circle",
            precision="float32",
            point_shading="flat",
        )
    import trimesh

    made = trimesh.Trimesh(solid.vertices, solid.faces, vertex_colors=colors, process=False)
    return server.scene.add_mesh_trimesh(name, made, cast_shadow=False, receive_shadow=False)
