"""Which latents, and which views of them, are worth a label.

Candidates are latents z ~ N(0, I). They are chosen far from one another in w, where the generator's scenes lie, and far
from those that are labelled already (farthest-point sampling); or first by what a trained branch does not know of them.
What it does not know is the entropy of its class probabilities, in nats. A checkpoint has one branch and no ensemble,
whose members could disagree, so this is the branch's own doubt: where it is wrong and sure, nothing is seen.

Poses are those of section 4 of the paper: yaws within 30 degrees of frontal, all else as in the frontal view.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.views import Scene
from dnerf_jax.ops.cameras import Camera

UNSURE = 0.1  # the share of a picture whose mean entropy is its score: most of every picture is easy


def in_w(model: Model, z: np.ndarray, truncation_psi: float) -> np.ndarray:
    """Where latents z (N, z_dim) lie in w, (N, w_dim)."""
    ws = jax.jit(lambda made, z: scenes.to_ws(made, z, truncation_psi=truncation_psi))(model.generator, jnp.asarray(z))
    return np.asarray(ws[:, 0])


def farthest(points: np.ndarray, count: int, *, given: np.ndarray | None = None) -> np.ndarray:
    """The indices (count,) of points (N, D), each as far as can be from `given` (M, D) and from those before it.

    Without `given` it begins with the point nearest to their mean, which is a usual one.

    Raises ValueError: there are fewer points.
    """
    if not 0 < count <= len(points):
        raise ValueError(
            f"{count} of {len(points)} candidates are wanted: expected 1 or more, and no more than there are"
        )
    points, chosen = np.asarray(points, np.float64), []
    if given is None or not len(given):
        chosen.append(int(np.argmin(np.linalg.norm(points - points.mean(0), axis=1))))
    left = np.full(len(points), np.inf)  # distance to the nearest of all that are chosen or given
    for other in [points[chosen[0]]] if chosen else np.asarray(given, np.float64):
        left = np.minimum(left, np.linalg.norm(points - other, axis=1))
    while len(chosen) < count:
        left[chosen] = -np.inf
        chosen.append(int(np.argmax(left)))
        left = np.minimum(left, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def yaws(count: int, views: int, reach: float, draws: np.random.Generator) -> np.ndarray:
    """Yaws (count, views) within +-reach, in its unit, that cover it evenly.

    Each view of a latent has a part of its own, from left to right, and within the parts the latents are spread: of one
    view of each of 30 latents there is one in every thirtieth.
    """
    rank = np.stack([draws.permutation(count) for _ in range(views)], axis=1)
    place = (np.arange(views) + (rank + draws.random((count, views))) / count) / views
    return (2 * place - 1) * reach


def doubt(logits: jax.Array) -> jax.Array:
    """How unsure logits (..., H, W, C) are, (...): the mean entropy over the most uncertain tenth of the pixels."""
    logp = jax.nn.log_softmax(logits, axis=-1)
    entropy = -jnp.sum(jnp.exp(logp) * logp, axis=-1)
    flat = entropy.reshape((*entropy.shape[:-2], -1))
    most, _ = jax.lax.top_k(flat, max(1, round(UNSURE * flat.shape[-1])))
    return jnp.mean(most, axis=-1)


def doubts(model: Model, z: np.ndarray, psi: float, camera: Camera, pose: Pose | None, tell: Any = None) -> np.ndarray:
    """How unsure the model's branch is of every view of latents z (N, z_dim), (N, V).

    Args:
      camera: (N, V). pose: (N) of bodies.
      tell: called with the number of views that are done.

    Raises ValueError: the model has no branch.
    """
    if model.semantic is None:
        raise ValueError("this checkpoint has no semantic branch that could be unsure: train one, or choose by latents")
    scores, done = np.zeros(camera.batch_shape), 0
    for i in range(len(scores)):
        here = None if pose is None else pose[i]
        scene, bounds = _scene(model, jnp.asarray(z[i]), jnp.float32(psi), here)
        for j in range(scores.shape[1]):
            scores[i, j], done = _doubt_of(model, scene, bounds, camera[i, j]), done + 1
            if tell is not None:
                tell(done)
    return scores


@jax.jit
def _scene(model: Model, z: jax.Array, psi: jax.Array, pose: Pose | None) -> tuple[Scene, Bounds]:
    scene = scenes.synthesize(model, z, truncation_psi=psi, pose=pose)
    return scene, scenes.bounds(model, scene)


@jax.jit
def _doubt_of(model: Model, scene: Scene, bounds: Bounds, camera: Camera) -> jax.Array:
    return doubt(jnp.asarray(scenes.render(model, scene, camera, skip_empty=True, bounds=bounds).logits))
