"""What is random in a dataset: the latent, the cameras and the pose of an identity.

All is drawn from fold_in(fold_in(key(seed), identity), attempt), and so depends on no batch, device or restart. The
attempt is 0 unless the rules of the plan's `Drops` rejected what came of the ones before.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.factory.plan import Plan, Viewpoints
from dnerf_jax.models import scenes
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera

_OF_POSE = 2  # after the two into which an identity's key is split


def draw(plan: Plan, config: GeneratorConfig, identity: int, attempt: int = 0) -> tuple[np.ndarray, Camera]:
    """Latent z (z_dim,) and cameras (views_per_identity,) of an identity, float32, drawn on the CPU wherever we are."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        z, camera = _draw(_of_draw(plan), config, jnp.int32(identity), jnp.int32(attempt))
        return np.asarray(z), jax.tree.map(np.asarray, camera)


def draw_frames(plan: Plan, num_poses: int, identity: int, attempt: int = 0) -> tuple[int, ...]:
    """The frames (views_per_identity,) of a motion of so many that the views of an identity are in."""
    if plan.poses.order == "frames":
        return tuple(range(plan.views_per_identity))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        frame = _draw_frame(plan.seed, jnp.int32(num_poses), jnp.int32(identity), jnp.int32(attempt))
    return (int(frame),) * plan.views_per_identity


def _of_draw(plan: Plan) -> Plan:
    """The plan without what draws do not depend on, so that all share one program."""
    return Plan(seed=plan.seed, views_per_identity=plan.views_per_identity, viewpoints=plan.viewpoints)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw(plan: Plan, config: GeneratorConfig, identity: jax.Array, attempt: jax.Array) -> tuple[jax.Array, Camera]:
    of_z, of_cameras = jax.random.split(_key(plan.seed, identity, attempt))
    z = jax.random.normal(of_z, (config.z_dim,), jnp.float32)
    return z, _viewpoints(plan.viewpoints, config, plan.views_per_identity, of_cameras)


@functools.partial(jax.jit, static_argnums=0)
def _draw_frame(seed: int, num_poses: jax.Array, identity: jax.Array, attempt: jax.Array) -> jax.Array:
    return jax.random.randint(jax.random.fold_in(_key(seed, identity, attempt), _OF_POSE), (), 0, num_poses)


def _key(seed: int, identity: jax.Array, attempt: jax.Array) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), identity), attempt)


def _viewpoints(chosen: Viewpoints, config: GeneratorConfig, views: int, key: jax.Array) -> Camera:
    """The cameras (views,) of one identity."""
    if chosen.fixed and len(chosen.fixed[0]) == 25:
        return cameras.from_eg3d(np.asarray(chosen.fixed, np.float32))
    of_yaw, of_pitch = jax.random.split(key)
    number, reach = np.arange(views, dtype=np.float32), np.radians([chosen.yaw, chosen.pitch]).astype(np.float32)
    if chosen.distribution == "uniform":
        part = (number + jax.random.uniform(of_yaw, (views,), jnp.float32)) / views
        place = part * 2 - 1, jax.random.uniform(of_pitch, (views,), jnp.float32, minval=-1.0, maxval=1.0)
    elif chosen.distribution == "gaussian":
        place = tuple(jax.random.truncated_normal(k, -3.0, 3.0, (views,), jnp.float32) for k in (of_yaw, of_pitch))
    elif chosen.distribution == "orbit":
        # A full circle must not see its first camera twice.
        steps = views if chosen.yaw == 180 else max(views - 1, 1)
        place = jnp.asarray(number / np.float32(steps) * 2 - 1), jnp.ones(views, jnp.float32)
    elif chosen.distribution == "trajectory":
        turn = np.float32(2 * np.pi) * number / np.float32(views)
        place = jnp.asarray(np.sin(turn)), jnp.asarray(np.cos(turn))
    else:
        place, reach = tuple(jnp.asarray(np.radians(chosen.fixed).T, jnp.float32)), np.ones(2, np.float32)
    # Of a Gaussian three standard deviations may lie beyond what angles there are.
    yaw, pitch = jnp.clip(reach[0] * place[0], -np.pi, np.pi), jnp.clip(reach[1] * place[1], -np.pi / 2, np.pi / 2)
    return scenes.default_camera(config, yaw, pitch)
