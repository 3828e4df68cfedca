"""A latent, a camera and a pose are found together from one view of a body, by the loop that inverts heads.

What is sought, and by what loss, is the caller's own affair: here turns of bones, from a pose that is 20 degrees off at
each of ten of them, by a view's raw image and depth, from coarse to fine.

python tests/training/inversion/test_fitted_bodies.py        # the same on the embedded bodies: errors of every bone
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dnerf_jax import checkpoints
from dnerf_jax.models import articulated, features, generator, scenes
from dnerf_jax.ops import metrics, orbiting, skinning
from dnerf_jax.ops.precision import einsum
from dnerf_jax.training.inversion import loop
from dnerf_jax.training.inversion import subject as subjects

BLURS = (2.5, 0.4)  # pixels, at the beginning and at the end
STEPS = 120
OFF = np.radians(np.float32([10, 5, 20]))  # yaw, pitch, and every bone about an axis of its own
LIMBS = ("spine03", "neck01", *(f"{bone}.{s}" for bone in ("upperarm01", "lowerarm01") for s in "LR"))
LIMBS += tuple(f"{bone}.{s}" for bone in ("upperleg01", "lowerleg01") for s in "LR")

ENDS = ("neck01", "head", *(f"{end}.{s}" for end in ("lowerarm01", "wrist", "lowerleg01", "foot") for s in "LR"))


@partial(jax.jit, static_argnums=(0, 2))
def turned(articulation, pose, bones, turns):
    """A pose with some of its bones turned on."""
    chosen = np.array([articulation.bones.index(bone) for bone in bones])
    rotations = einsum("bij,bjk->bik", skinning.rotation(turns), pose.rotations[chosen])
    return pose.replace(rotations=pose.rotations.at[chosen].set(rotations))


def seen(model, size, found, pose):
    """Raw image and depth (size, size, 4) of a latent in a pose; depth is counted from behind, 0 where nothing is."""
    scene = scenes.synthesize(model, found["z"], pose=pose)
    camera = orbiting.camera(subjects.default_orbit(model, found["yaw"], found["pitch"]))
    image, _, surface = features.render(model, size, size // 4, scene, camera)
    end = model.generator.config.rendering.ray_end
    near = surface.opacity * (end - jnp.where(jnp.isfinite(surface.distance), surface.distance, end))
    return jnp.concatenate([image[..., :3], near[..., None]], axis=-1)


def blurred(image, sigma):
    place = jnp.arange(len(image), dtype=jnp.float32)
    shares = jax.nn.softmax(-jnp.square(place[:, None] - place) / (2 * jnp.square(sigma)), axis=-1)
    return einsum("ij,jkc,lk->ilc", shares, image, shares)


def optimizer(steps, rate):
    """Adam, faster for the latent; the blur falls by itself."""

    def adam(rate):
        return optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.1), b2=0.95)

    finer = np.log(BLURS[0] / BLURS[1]) / (0.7 * steps)
    kinds = {"turns": adam(rate), "camera": adam(0.7 * rate), "latent": adam(4 * rate)}
    kinds["blur"] = optax.stateless(lambda _, now: jax.tree.map(lambda x: -finer * x * (x > BLURS[1]), now))
    return optax.multi_transform(
        kinds, {"z": "latent", "yaw": "camera", "pitch": "camera", "turns": "turns", "blur": "blur"}
    )


def joints(model, latent, pose):
    """Where the joints (B, 3) of a latent's body are, in millimetres from the first."""
    made = model.generator
    own = generator.body_shape(made, scenes.to_ws(made, latent))
    pose = pose.replace(shape=pose.shape if own is None else pose.shape + own)
    found = articulated.joints(made.config.articulation, made.variables["template"], pose)
    return 1000 * made.config.rendering.metres_per_unit * (found - found[0])


@partial(jax.jit, static_argnums=1)
def look(model, size, found, pose):
    """What is seen, with where the joints and the camera are."""
    camera = orbiting.camera(subjects.default_orbit(model, found["yaw"], found["pitch"]))
    return seen(model, size, found, pose), joints(model, found["z"], pose), camera.cam2world[:3, 3]


def fitted(model, bones, pose, *, size, steps, rate, seed, yaw=0.3):
    """Errors before and after: of every joint in mm (B,), of the camera's place in degrees, and the image's PSNR."""
    draws = np.random.default_rng(seed)
    latent, other = draws.normal(size=(2, model.generator.config.z_dim)).astype(np.float32)
    axes = draws.normal(size=(len(bones), 3)).astype(np.float32)
    axes *= OFF[2] / np.linalg.norm(axes, axis=-1, keepdims=True)
    turn = partial(turned, model.generator.config.articulation)
    start = turn(pose, bones, axes)
    true = {"z": latent, "yaw": np.float32(yaw), "pitch": np.float32(0.05)}
    begun = {"z": other, "yaw": true["yaw"] + OFF[0], "pitch": true["pitch"] - OFF[1]}
    target, place, stands = look(model, size, true, pose)

    def loss(model, target, params, key):
        image, start = target
        away = seen(model, size, params, turn(start, bones, params["turns"])) - image
        close = jnp.mean(jnp.square(blurred(away, jax.lax.stop_gradient(params["blur"]))))
        return close + 2e-4 * jnp.mean(jnp.square(params["turns"])) + 1e-4 * jnp.mean(jnp.square(params["z"]))

    free = begun | {"turns": np.zeros_like(axes), "blur": np.float32(BLURS[0])}
    found = loop.invert(model, (target, start), free, loss=loss, optimizer=optimizer(steps, rate), steps=steps).params
    found = jax.tree.map(np.asarray, found)  # on no device yet, as what was begun with: the same program
    rows = []
    for subject, at in ((begun, start), (found, turn(start, bones, found["turns"]))):
        image, there, camera = look(model, size, {name: subject[name] for name in true}, at)
        cosine = camera @ stands / np.linalg.norm(camera) / np.linalg.norm(stands)
        psnr = float(metrics.psnr(*(jnp.clip(x[..., :3], -1, 1) for x in (image, target))))
        off = np.linalg.norm(there - place, axis=-1)
        rows.append((off, float(np.degrees(np.arccos(min(cosine, 1)))), psnr))
    return rows


@pytest.mark.slow
def test_a_latent_a_camera_and_a_pose_are_fitted_together(random_arrays, tiny_config):
    """The whole way, in a few steps: picture and camera come closer. `main` goes on to where joints do too."""
    import small_bodies  # which `main` has no need of

    model = small_bodies.small(random_arrays, tiny_config)
    pose = articulated.known(model.generator.config.articulation, model.generator.variables["template"], 25)
    before, after = fitted(model, LIMBS, pose, size=40, steps=14, rate=0.03, seed=0, yaw=np.radians(35))
    moved = [float(np.max(np.abs(x - y))) for x, y in zip(before[:2], after[:2], strict=True)]
    assert np.isfinite(after[0]).all() and np.mean(before[0]) > 50 and min(moved) > 0.1
    assert after[2] > before[2] + 0.5 and after[1] < 0.7 * before[1]


def main():
    """Prints the errors on the embedded bodies, of four latents in poses of their template."""
    if len(sys.argv) > 1:
        jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    model = checkpoints.load("bodies")
    config, template, off = model.generator.config.articulation, model.generator.variables["template"], []
    for seed, number, yaw in ((0, 25, 35), (1, 16, -30), (2, 49, 75), (3, 14, 160)):
        rows = fitted(
            model,
            LIMBS,
            articulated.known(config, template, number),
            size=40,
            steps=STEPS,
            rate=0.04,
            seed=seed,
            yaw=np.radians(yaw),
        )
        off.append([row[0][np.array([config.bones.index(end) for end in ENDS])] for row in rows])
        (_, camera, psnr), (_, camera_after, psnr_after) = rows
        print(f"latent {seed}: camera {camera:.1f} -> {camera_after:.1f} degrees, {psnr:.1f} -> {psnr_after:.1f} dB")
        print(f"  joints {np.mean(off[-1][0]):.0f} -> {np.mean(off[-1][1]):.0f} mm, mean", flush=True)
    for end, errors in zip(ENDS, np.transpose(off, (2, 0, 1)), strict=True):
        print(f"{end:14s} " + "   ".join(f"{before:4.0f} -> {after:3.0f}" for before, after in errors))


if __name__ == "__main__":
    main()
