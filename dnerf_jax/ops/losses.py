"""Losses, as means over all that they are given."""

import jax
import jax.numpy as jnp
import optax

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.precision import einsum


def cross_entropy(
    logits: jax.Array, labels: jax.Array, *, class_weights: jax.Array | None = None, ignore: int = LabelMap.IGNORE
) -> jax.Array:
    """Mean cross-entropy of logits (..., C) against label ids (...), pixels marked `ignore` left out (paper, eq. 2).

    class_weights: (C,) how much a pixel of each class counts; None is the paper's, all alike.
    """
    known = labels != ignore
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, labels, 0).astype(jnp.int32))
    weights = known if class_weights is None else known * class_weights[jnp.where(known, labels, 0)]
    return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1e-8)


def mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared difference."""
    return jnp.mean(jnp.square(prediction - target))


def binary_cross_entropy(opacity: jax.Array, alpha: jax.Array, *, smallest: float = 1e-4) -> jax.Array:
    """Mean cross-entropy of opacities in [0, 1] against coverages alpha in [0, 1].

    A ray that is opaque by mistake is -log(1 - opacity) in error, its optical depth, which keeps pulling where its
    opacity no longer changes with the density. `smallest` bounds opacity and transparency from below.
    """
    through, stopped = jnp.maximum(1 - opacity, smallest), jnp.maximum(opacity, smallest)
    return -jnp.mean(alpha * jnp.log(stopped) + (1 - alpha) * jnp.log(through))


def gradient_difference(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """How far the finite differences of two images (..., H, W, C) are apart: mean absolutes of both axes, summed.

    Punishes blur.
    """

    def along(axis: int) -> jax.Array:
        return jnp.mean(jnp.abs(jnp.diff(prediction, axis=axis) - jnp.diff(target, axis=axis)))

    return along(-3) + along(-2)


def depth_spread(weights: jax.Array, depths: jax.Array, target: jax.Array, opaque: jax.Array) -> jax.Array:
    """How far from the true distance a ray's weight lies: mean of sum_s w_s |t_s - target| over opaque rays.

    weights, depths (..., S); target (...) distance; opaque (...) in {0, 1} selects the rays.
    """
    spread = jnp.sum(weights * jnp.abs(depths - target[..., None]), axis=-1)
    return jnp.sum(jax.lax.stop_gradient(opaque) * spread) / jnp.maximum(jnp.sum(opaque), 1)


def orthogonality(matrices: jax.Array) -> jax.Array:
    """How far matrices A (..., C, C) are from rotations: mean of the squared Frobenius norm of I - A A^T (PointNet)."""
    products = einsum("...ij,...kj->...ik", matrices, matrices)
    return jnp.mean(jnp.sum(jnp.square(jnp.eye(matrices.shape[-1]) - products), axis=(-2, -1)))
