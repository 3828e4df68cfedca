"""What a viewer's page shows of a generator: the scene that its controls ask for, views of it, its cloud and mesh.

A scene is made once and kept until the controls ask for another; its views are rendered by two programs, a coarse one
for cameras that move, without super-resolution at half the neural rendering's resolution, and a fine one.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import articulated, scenes, shapes
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.scenes import Scene, View
from dnerf_jax.ops import points
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.images import to_uint8
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.viz import pictures

PICTURES = ("image", "depth", "normals")
OF_BRANCH = ("mask", "mask over the image", "uncertainty")
SOLIDS = ("cloud", "mesh")
_VIEWS, _VOXEL = 9, 0.005  # that a cloud is fused of; world units
_KEPT = ("image", "mask", "confidence", "depth_z", "opacity", "normal", "camera")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which scene: that of seed (or a given one), on the way `mix` from 0 to 1 to that of the seed `other`.

    The way is straight in w. truncation: psi of the seeds. pose: of a body, the number of one that the template has,
    counted from 1, or 0, the canonical one.
    """

    seed: int = 0
    other: int = 1
    mix: float = 0.0
    truncation: float = 1.0
    pose: int = 0


class Sight:
    """Looks at the scenes of a model; one page's worth, called from one thread.

    ws: (num_ws, w_dim), the scene in the place of the first seed's. reach: degrees from frontal that the cameras of the
    generator's training went to; of bodies all around. Raises ValueError: ws are those of several scenes.
    """

    def __init__(self, model: Model, ws: jax.Array | None = None, *, reach: float):
        if ws is not None and ws.ndim != 2:
            raise ValueError(f"these are {ws.shape[:-2]} scenes, and a page shows one: save it alone, of ws[0]")
        self.model, self.reach = model, reach if model.generator.config.articulation is None else 180.0
        self._ws_given = ws
        self._made = functools.lru_cache(maxsize=1)(self._make)
        self._solid = functools.lru_cache(maxsize=2)(self._make_solid)

    @property
    def given(self) -> bool:
        """Whether the scene is one that was found, not a seed's."""
        return self._ws_given is not None

    @property
    def num_poses(self) -> int:
        """How many poses the template has; 0 where there is no body."""
        config = self.model.generator.config.articulation
        return 0 if config is None else config.num_poses

    def kinds(self) -> tuple[str, ...]:
        """What there is to show."""
        of_branch = () if self.model.semantic is None else OF_BRANCH
        return (PICTURES[0], *of_branch, *PICTURES[1:], *SOLIDS)

    def look(self, wanted: Wanted, camera: Camera, *, fine: bool) -> View:
        """A view of NumPy arrays; fields that no picture needs are None."""
        return jax.tree.map(np.asarray, _look(self.model, *self._made(wanted), camera, fine=fine))

    def solid(self, wanted: Wanted, kind: str) -> PointCloud | Mesh:
        """The fused cloud or the mesh of a scene, labelled where there is a branch.

        Raises ValueError: it is nowhere solid. ImportError: a mesh needs the extra `meshes`.
        """
        return self._solid(wanted, kind)

    def _make(self, wanted: Wanted) -> tuple[Scene, Bounds | None]:
        start = self._ws_given if self._ws_given is not None else self._ws(wanted.seed, wanted.truncation)
        ws = start if not wanted.mix else _mix(start, self._ws(wanted.other, wanted.truncation), wanted.mix)
        config, pose = self.model.generator.config.articulation, None
        if config is not None and wanted.pose:
            pose = articulated.known(config, self.model.generator.variables["template"], wanted.pose - 1)
        return _synthesize(self.model, ws, pose)

    def _ws(self, seed: int, truncation: float) -> jax.Array:
        z = jax.random.normal(jax.random.key(seed), (self.model.generator.config.z_dim,), "float32")
        return _to_ws(self.model.generator, z, jnp.float32(truncation))

    def _make_solid(self, wanted: Wanted, kind: str) -> PointCloud | Mesh:
        scene, _ = self._made(wanted)
        if kind == "mesh":
            return shapes.extract_mesh(self.model, scene)
        # A full circle must not see its first camera twice.
        yaws = np.radians(np.linspace(-self.reach, self.reach, _VIEWS, endpoint=self.reach < 180))
        views = [self.look(wanted, scenes.default_camera(self.model, np.float32(yaw)), fine=True) for yaw in yaws]
        joined = jax.tree.map(lambda *parts: np.stack(parts), *views)
        cloud = points.from_views(joined, label_map=self.model.label_map, voxel_size=_VOXEL)
        if not len(cloud):
            raise ValueError("there is no cloud: the scene is empty")
        return cloud


def picture(model: Model, view: View, kind: str) -> np.ndarray:
    """A view as one of PICTURES or OF_BRANCH, uint8 (H, W, 3).

    Depth has the colours of the box, near to far, the same in all views from one distance. Uncertainty is one minus
    the probability that the branch gives to the class it shows: bright where it is high.
    """
    image = to_uint8(view.image, span=(-1, 1))
    if kind == "depth":
        middle = float(np.linalg.norm(np.asarray(view.camera.cam2world)[:3, 3]))
        half = model.generator.config.rendering.box_warp / 2
        return pictures.depth_picture(view.depth_z, near=middle - half, far=middle + half)
    if kind == "normals":
        return pictures.normal_picture(view.normal)
    if kind == "uncertainty":
        return pictures.share_picture(1 - view.confidence)
    if kind in OF_BRANCH and model.label_map is not None:
        colors = model.label_map.colorize(np.asarray(view.mask))
        over = np.where((np.asarray(view.mask) == 0)[..., None], image, pictures.overlay(image, colors))
        return colors if kind == "mask" else over
    return image


def colors_of(solid: PointCloud | Mesh, by_class: bool) -> np.ndarray:
    """Colours, uint8 (N, 3), of a cloud's points or a mesh's vertices: their own, or those of their classes."""
    if by_class and solid.label_map is not None and solid.labels is not None:
        return solid.label_map.colorize(solid.labels)
    count = len(solid.points if isinstance(solid, PointCloud) else solid.vertices)
    return np.full((count, 3), 160, np.uint8) if solid.colors is None else solid.colors


_to_ws = jax.jit(lambda generator, z, psi: scenes.to_ws(generator, z, truncation_psi=psi))
_mix = jax.jit(lambda a, b, share: a + share * (b - a))


@jax.jit
def _synthesize(model: Model, ws: jax.Array, pose: articulated.Pose | None) -> tuple[Scene, Bounds | None]:
    scene = scenes.synthesize(model, ws=ws, pose=pose)
    return scene, None if scene.body is not None else scenes.bounds(model, scene)


@functools.partial(jax.jit, static_argnames="fine")
def _look(model: Model, scene: Scene, bounds: Bounds | None, camera: Camera, *, fine: bool) -> View:
    size = model.generator.config.neural_rendering_resolution
    view = scenes.render(
        model, scene, camera, resolution=size if fine else max(size // 2, 1), skip_empty=True, bounds=bounds
    )
    if not fine:  # super-resolution is left out by the compiler, since nothing needs it
        view = view.replace(image=view.image_raw)
        if view.semantic_raw is not None:
            probability = jax.nn.softmax(view.semantic_raw)
            # Where a ray meets nothing, super-resolution alone has learned what class that is.
            opacity = jax.image.resize(view.opacity, probability.shape[:-1], "linear")
            solid = opacity >= 0.5
            mask = jnp.where(solid, jnp.argmax(view.semantic_raw, axis=-1), points.BACKGROUND).astype(jnp.uint8)
            view = view.replace(mask=mask, confidence=jnp.where(solid, probability.max(axis=-1), 1 - opacity))
    return view.replace(**{field.name: None for field in dataclasses.fields(view) if field.name not in _KEPT})
