"""Views to label: a pack whose latents, cameras, pictures and fingerprint are right, and whose masks are all "ignore".

More can be proposed into the same folder: what is there stays as it is, and the new latents are far from its own.
"""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import label_folders, pack_checks, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling import choosing, naming
from dnerf_jax.models import articulated, scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.images import to_uint8
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some
from dnerf_jax.training import logs

By = Literal["latents", "uncertainty"]
CANDIDATES = 10  # drawn for every latent that is chosen
LOOKED_AT = 3  # views of each candidate for every view that is chosen, by uncertainty
SHORT_LIST = 3  # of the most uncertain candidates so many for each that is chosen, from which they are spread


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be proposed.

    Attributes:
      num: latents. views: of each.
      by: "latents", far from one another in w, or "uncertainty", of the checkpoint's branch.
      seed: of candidates and cameras; another for every proposal into one folder follows from it.
      yaw: degrees to either side of frontal that cameras stand in.
      truncation_psi: of all scenes of the folder, see `scenes.synthesize`; None is what it has, 1 for a new one.
      candidates: latents drawn, of which those are chosen; None is CANDIDATES times as many.
    """

    num: int = 30
    views: int = 1
    by: By = "latents"
    seed: int = 0
    yaw: float = 30.0
    truncation_psi: float | None = None
    candidates: int | None = None


def propose(model: Model, label_map: LabelMap | None, request: Request, path: Path) -> Annotations:
    """Chooses views, renders them, and writes or extends the pack in `path`; returns all of it.

    label_map: None is that of the pack that is there, or else the checkpoint's.

    Raises ValueError: the pack there is of another checkpoint, label map or truncation; there is no label map, or
    one that labels cannot be told apart by; there are fewer candidates than latents; choosing by uncertainty, the
    checkpoint has no branch.
    """
    if request.by not in get_args(By):
        raise ValueError(f"by is {request.by!r:.50}, expected one of {some(get_args(By))}")
    there = None
    if (path / label_folders.NAME).exists():
        there = packs.load(path, model, check=1, unlabelled=True)
        label_map = label_map or there.label_map
        _require_same(there, label_map, request, path)
    label_map = label_map or model.label_map
    if label_map is None:
        raise ValueError("this checkpoint has no classes of its own: name those to be labelled, --labelmap FILE")
    if there is None:
        naming.require_told_apart(label_map)
    psi = request.truncation_psi
    if psi is None:
        psi = 1.0 if there is None else there.truncation_psi
    z, camera, pose = _chosen(model, request, psi, there)
    first = 0 if there is None else int(there.latent_id.max()) + 1
    images = _render(model, z, psi, camera, pose)
    licence = dict(model.info).get("license", "") or "not stated"
    made = Annotations(
        images=images,
        masks=np.full(images.shape[:3], LabelMap.IGNORE, np.uint8),
        z=z,
        cam2world=camera.cam2world,
        intrinsics=camera.intrinsics,
        latent_id=np.repeat(np.arange(first, first + request.num), request.views),
        label_map=label_map,
        fingerprint=model.fingerprint,
        name=path.resolve().name,
        licence=licence,
        truncation_psi=psi,
        pose=pose,
    )
    if there is not None:
        return label_folders.extend(path, made)
    packs.save(path, made, replace=True, unlabelled=True)
    return made


def _require_same(there: Annotations, label_map: LabelMap, request: Request, path: Path) -> None:
    if there.label_map != label_map:
        raise ValueError(
            f"{path} has the classes {there.label_map.names!r:.300} in its colours, the label map given"
            f" {label_map.names!r:.300}: leave the label map out, or name a new folder"
        )
    if request.truncation_psi not in (None, there.truncation_psi):
        raise ValueError(
            f"the scenes of {path} have the truncation {there.truncation_psi:g}, wanted is {request.truncation_psi:g}:"
            " a pack has one; take the same, or name a new folder"
        )


def _chosen(
    model: Model, request: Request, psi: float, there: Annotations | None
) -> tuple[np.ndarray, Camera, Pose | None]:
    """Latents, cameras and poses of the views (num * views,), those of one latent one after the other."""
    config, count = model.generator.config, request.candidates or CANDIDATES * request.num
    if count < request.num:
        raise ValueError(f"{count} candidates are fewer than the {request.num} latents wanted: take more")
    # What is there already sets the draws too, or the same latents would be drawn again.
    draws = np.random.default_rng((request.seed, 0 if there is None else len(there)))
    z = draws.standard_normal((count, config.z_dim)).astype(np.float32)
    pose = _poses(model, count, draws)
    w = choosing.in_w(model, z, psi)
    known = None if there is None else np.unique(choosing.in_w(model, there.z, psi), axis=0)
    if request.by == "uncertainty":
        latents, yaw = _most_uncertain(model, request, psi, z, w, known, pose, draws)
    else:
        latents = choosing.farthest(w, request.num, given=known)
        yaw = choosing.yaws(request.num, request.views, request.yaw, draws)
    order = np.repeat(latents, request.views)
    return z[order], _cameras(model, yaw.ravel()), jax.tree.map(lambda x: x[order], pose)


def _most_uncertain(
    model: Model,
    request: Request,
    psi: float,
    z: np.ndarray,
    w: np.ndarray,
    known: np.ndarray | None,
    pose: Pose | None,
    draws: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Latents (num,) and yaws (num, views): of every candidate its most uncertain views, of these the most uncertain
    candidates, and of them those far from one another."""
    views = LOOKED_AT * request.views
    yaw = choosing.yaws(len(z), views, request.yaw, draws)
    camera = jax.tree.map(lambda x: x.reshape((len(z), views, *x.shape[1:])), _cameras(model, yaw.ravel()))
    progress = logs.Progress(len(z) * views, unit="view")
    scores = choosing.doubts(model, z, psi, camera, pose, progress.update)
    best = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, : request.views], axis=1)
    worth = np.take_along_axis(scores, best, axis=1).mean(1)
    short = np.argsort(-worth, kind="stable")[: SHORT_LIST * request.num]
    latents = short[choosing.farthest(w[short], request.num, given=known)]
    return latents, np.take_along_axis(yaw, best, axis=1)[latents]


def _cameras(model: Model, yaw: np.ndarray) -> Camera:
    """The cameras (V,) on the generator's orbit at yaws in degrees."""
    camera = jax.jit(lambda yaw: scenes.default_camera(model.generator.config, yaw))(np.radians(yaw).astype(np.float32))
    return jax.tree.map(np.asarray, camera)


def _poses(model: Model, count: int, draws: np.random.Generator) -> Pose | None:
    """A pose for each latent (count,): of bodies one of those that the checkpoint has, or its canonical one."""
    config = model.generator.config.articulation
    if config is None:
        return None
    template = model.generator.variables["template"]
    if config.num_poses:
        own = articulated.known(config, template, draws.integers(config.num_poses, size=count))
        return jax.tree.map(lambda x: np.asarray(x, np.float32), own)
    still = articulated.still(config, template)
    return jax.tree.map(lambda x: np.repeat(np.asarray(x, np.float32)[None], count, axis=0), still)


def _render(model: Model, z: np.ndarray, psi: float, camera: Camera, pose: Pose | None) -> np.ndarray:
    """The pictures, uint8 (V, R, R, 3)."""
    images, progress = [], logs.Progress(len(z), unit="view")
    for index in range(len(z)):
        here = None if pose is None else pose[index]
        image, _ = pack_checks.rendered(model.generator, jnp.asarray(z[index]), psi, camera[index], here)
        images.append(to_uint8(np.asarray(image), span=(-1, 1)))
        progress.update(index + 1)
    return np.stack(images)
