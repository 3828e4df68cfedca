"""What the generator and its branch say of views that are being labelled: pictures, depth, predictions, doubts.

One program for all views. What was rendered last stays in memory, since the page asks for one view's picture, edges and
prediction one after the other.
"""

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import pack_checks
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.ops import orbiting
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.images import to_uint8

KEPT = 64  # views: at 512 x 512 some 7 MB each


@dataclasses.dataclass(frozen=True)
class Seen:
    """A view of R x R pixels: image uint8 (R, R, 3), depth_z (R, R) infinite where empty, its camera.

    mask: uint8 (R, R), and doubt: uint8 (R, R), 255 where any class is as likely as any other; None without a branch.
    """

    image: np.ndarray
    depth_z: np.ndarray
    camera: Camera
    mask: np.ndarray | None
    doubt: np.ndarray | None


class Kept:
    """What was seen last, by its name. One look at a time: two would take twice the memory, and no less time."""

    def __init__(self, most: int = KEPT):
        self._most, self._lock = most, threading.Lock()
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def __call__(self, name: Any, look: Callable[[], Any]) -> Any:
        """What `look` found under this name, now or before."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = look()
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(name)
            return self._kept[name]

    def forget(self, change: Callable[[], None]) -> None:
        """Forgets all, and does what makes that necessary, between two looks."""
        with self._lock:
            change()
            self._kept.clear()


class Eye:
    """Looks at the scenes of a pack with a model, which can be replaced by one with another branch."""

    def __init__(self, model: Model):
        self._model, self._kept = model, Kept()

    @staticmethod
    def require(model: Model, pack: Annotations) -> None:
        """Raises ValueError: the pack is of another generator."""
        problems = pack_checks.model_problems(vars(pack), model)
        if problems:
            raise ValueError(pack_checks.listed(f"the pack {pack.name!r}", problems))

    @property
    def model(self) -> Model:
        """The model that looks."""
        return self._model

    def replace(self, model: Model) -> None:
        """Looks with another model from now on, and forgets what the old one saw."""
        self._kept.forget(lambda: setattr(self, "_model", model))

    def view(self, pack: Annotations, index: int) -> Seen:
        """A view of the pack as the generator renders it; the picture in the pack may be another source's."""
        return self._look(pack, index, pack.cam2world[index], pack.intrinsics[index])

    def turned(self, pack: Annotations, index: int, yaw: float, pitch: float) -> Seen:
        """The scene of a view from another place on the generator's orbit, radians from frontal.

        Raises ValueError as `scenes.default_camera`.
        """
        camera = scenes.default_camera(self._model, np.float32(yaw), np.float32(pitch))
        return self._look(pack, index, np.asarray(camera.cam2world), np.asarray(camera.intrinsics))

    def angles(self, pack: Annotations, index: int) -> dict[str, float]:
        """The yaw and pitch of a view, by these names, in degrees to a tenth, 0 where none can be told; see
        `orbiting.of_camera`."""
        found = _angles(pack.camera[index], np.float32(self._model.generator.config.rendering.avg_camera_pivot))
        return {name: round(float(np.degrees(np.nan_to_num(x))), 1) + 0.0 for name, x in found.items()}  # and no -0

    def _look(self, pack: Annotations, index: int, cam2world: np.ndarray, intrinsics: np.ndarray) -> Seen:
        pose = None if pack.pose is None else pack.pose[index]
        parts = [np.asarray(x).tobytes() for x in (pack.z[index], cam2world, intrinsics, *jax.tree.leaves(pose))]

        def look() -> Seen:
            camera, psi = Camera(jnp.asarray(cam2world), jnp.asarray(intrinsics)), jnp.float32(pack.truncation_psi)
            found = _see(self._model, jnp.asarray(pack.z[index]), psi, camera, pose)
            return seen(*found, Camera(cam2world, intrinsics))

        return self._kept((*parts, pack.truncation_psi), look)


def seen(image: jax.Array, depth_z: jax.Array, mask: jax.Array | None, doubt: jax.Array | None, camera: Camera) -> Seen:
    """What the page shows of a view; image in [-1, 1], doubt in [0, 1]."""
    mask, doubt = jax.tree.map(np.asarray, (mask, doubt))
    doubt = None if doubt is None else np.round(255 * doubt).astype(np.uint8)
    return Seen(to_uint8(np.asarray(image), span=(-1, 1)), np.asarray(depth_z), camera, mask, doubt)


@jax.jit
def _angles(camera: Camera, pivot: jax.Array) -> dict[str, jax.Array]:
    orbit = orbiting.of_camera(camera, pivot=pivot)
    return {"yaw": orbit.yaw, "pitch": orbit.pitch}


@jax.jit
def _see(
    model: Model, z: jax.Array, psi: jax.Array, camera: Camera, pose: Pose | None
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    view = scenes.render(model, scenes.synthesize(model, z, truncation_psi=psi, pose=pose), camera)
    if view.logits is None:
        return view.image, view.depth_z, None, None
    return view.image, view.depth_z, view.mask, doubts(view.logits)


@jax.jit
def doubts(logits: jax.Array) -> jax.Array:
    """The entropy (...) of class probabilities, of logits (..., C): 1 where any class is as likely as any other."""
    logp = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.exp(logp) * logp, axis=-1) / np.log(logp.shape[-1])
