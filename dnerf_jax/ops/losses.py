"""Losses, as means over all that they are given."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits, labels, *, class_weights=None, ignore=255):
    """Mean cross-entropy of logits (..., C) against label ids (...), pixels marked `ignore` left out (paper, eq. 2).

    class_weights: (C,) how much a pixel of each class counts; None is the paper's, all alike.
    """
    known = labels != ignore
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, labels, 0).astype(jnp.int32))
    weights = known if class_weights is None else known * class_weights[jnp.where(known, labels, 0)]
    return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1e-8)


def mean_squared_error(prediction, target):
    """Mean squared difference."""
    return jnp.mean(jnp.square(prediction - target))


def binary_cross_entropy(opacity, alpha, *, smallest=1e-4):
    """Mean cross-entropy of opacities in [0, 1] against coverages alpha in [0, 1].

    A ray that is opaque by mistake is -log(1 - opacity) in error, its optical depth, which keeps pulling where its
    opacity no longer changes with the density. `smallest` bounds opacity and transparency from below.
    """
    through, stopped = jnp.maximum(1 - opacity, smallest), jnp.maximum(opacity, smallest)
    return -jnp.mean(alpha * jnp.log(stopped) + (1 - alpha) * jnp.log(through))


def gradient_difference(prediction, target):
    """Mean absolute difference of the finite differences of two images (..., H, W, C): punishes blur."""
    total = 0.0
    for axis in (-3, -2):
        total += jnp.mean(jnp.abs(jnp.diff(prediction, axis=axis) - jnp.diff(target, axis=axis)))
    return total


def depth_spread(weights, depths, target, opaque):
    """How far from the true distance a ray's weight lies: mean of sum_s w_s |t_s - target| over opaque rays.

    weights, depths (..., S); target (...) distance; opaque (...) in {0, 1} selects the rays.
    """
    spread = jnp.sum(weights * jnp.abs(depths - target[..., None]), axis=-1)
    return jnp.sum(jax.lax.stop_gradient(opaque) * spread) / jnp.maximum(jnp.sum(opaque), 1)
