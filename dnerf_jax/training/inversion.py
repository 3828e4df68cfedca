"""Inverts a photo or a mask (paper, section 5.4): python -m dnerf_jax.invert --config configs/invert.py --image ...

Adam optimises the latent z, the yaw and the pitch together, from the best of some random candidates. A photo is
compared by mean squared error, a mask by cross-entropy; with both, the losses are added. This is the simple form: a
short loop over the pure functions.
"""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files
from dnerf_jax.models import scenes
from dnerf_jax.networks.superresolution import resize
from dnerf_jax.ops import losses
from dnerf_jax.training import logs, process
from dnerf_jax.viz import pictures


@dataclasses.dataclass(frozen=True)
class Settings:
    """An inversion.

    Attributes:
      steps: of Adam.
      candidates: random latents and poses to start from; the best one is taken.
      rendering_resolution: of the neural rendering while optimising; the result is rendered at the model's own.
      learning_rate, pose_learning_rate: of z, and of yaw and pitch in radians.
      yaw, pitch: poses are looked for within these degrees of frontal.
    """

    seed: int
    steps: int
    candidates: int
    rendering_resolution: int
    learning_rate: float
    pose_learning_rate: float
    yaw: float
    pitch: float


def main(config, out: str, image: str = "", mask: str = "", checkpoint: str = "heads"):
    """Finds the latent and pose of an image, a mask, or both, and renders them.

    out: folder for result.json, latent.npy and comparison.png
    image: RGB image, framed as the checkpoint's training images
    mask: index PNG with the checkpoint's label ids
    checkpoint: folder of the model, or an embedded name; a mask needs one with a semantic branch
    """
    run = cli.as_dataclass(config, Settings)
    process.prepare()
    model = _load(checkpoint)
    target = read_target(model, image, mask)
    found, report = invert(run, model, target)
    write(Path(out), model, target, found, report)


def read_target(model, image, mask):
    """{"image": (R, R, 3) in [-1, 1] or None, "mask": (R, R) ids or None} from files, at the model's resolution."""
    size = model.config.image_resolution
    if not image and not mask:
        raise ValueError("Nothing to invert: pass --image, --mask, or both.")
    target = {"image": None, "mask": None}
    if image:
        with Image.open(image) as file:
            if abs(file.width - file.height) > 0.02 * file.height:
                raise ValueError(f"{image} is {file.width} x {file.height}: crop it to a square first.")
            rgb = file.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        target["image"] = np.asarray(rgb, np.float32) / 127.5 - 1
    if mask:
        if model.semantic_config is None:
            raise ValueError("A mask needs a checkpoint with a semantic branch: train one with dnerf_jax.train first.")
        ids = model.label_map.load_mask(mask)
        if ids.shape[0] != ids.shape[1]:
            raise ValueError(f"{mask} is {ids.shape[1]} x {ids.shape[0]}: crop it to a square first.")
        index = (np.arange(size) + 0.5) * len(ids) // size
        target["mask"] = ids[np.ix_(index.astype(int), index.astype(int))]
    return target


def invert(run, model, target):
    """The best {"z", "yaw", "pitch"} found (angles in radians), and {"loss", "losses"}."""
    if target["image"] is not None:
        small = resize(jnp.asarray(target["image"]), run.rendering_resolution, antialias=True)
        target = target | {"image": small}
    candidates = [draw(run, model.config, i) for i in range(run.candidates)]
    found = min(candidates, key=lambda candidate: float(_loss(run, model, target, candidate)))
    state, best, history, progress = optimizer(run).init(found), (np.inf, found), [], logs.Progress(run.steps)
    for i in range(1, run.steps + 1):
        before = found
        found, state, loss = step(run, model, target, found, state)
        logs.require_finite({"loss": loss}, i)
        history.append(float(loss))
        best = min(best, (history[-1], before), key=lambda entry: entry[0])
        progress.update(i, {"loss": loss})
    return best[1], {"loss": best[0], "losses": history}


def draw(run, config, index):
    """A random candidate: z ~ N(0, I) and a pose within the limits."""
    z_key, pose_key = jax.random.split(jax.random.fold_in(jax.random.key(run.seed), index))
    pose = jax.random.uniform(pose_key, (2,), minval=-1.0, maxval=1.0) * jnp.radians(jnp.array([run.yaw, run.pitch]))
    return {"z": jax.random.normal(z_key, (config.z_dim,)), "yaw": pose[0], "pitch": pose[1]}


def reconstruction_loss(run, model, target, found):
    """How far the rendering of `found` is from the target: raw image (r, r, 3), mask (R, R), either may be None."""
    loss = 0.0
    camera = scenes.default_camera(model.config, found["yaw"], found["pitch"])
    view = scenes.render(model, scenes.synthesize(model, found["z"]), camera, resolution=run.rendering_resolution)
    if target["image"] is not None:
        loss += losses.mean_squared_error(view.image_raw, target["image"])
    if target["mask"] is not None:
        loss += losses.cross_entropy(view.logits, target["mask"])
    return loss


def write(out, model, target, found, report):
    """Writes result.json, latent.npy and comparison.png: input and reconstruction side by side."""
    camera = scenes.default_camera(model.config, found["yaw"], found["pitch"])
    view = jax.jit(scenes.render)(model, jax.jit(scenes.synthesize)(model, found["z"]), camera)
    row = []
    if target["image"] is not None:
        row += [pictures.to_uint8(target["image"])]
    if target["mask"] is not None:
        row += [model.label_map.colorize(target["mask"])]
    row += [pictures.to_uint8(np.asarray(view.image))]
    row += [] if view.mask is None else [model.label_map.colorize(np.asarray(view.mask))]
    degrees = {name: float(np.degrees(found[name])) for name in ("yaw", "pitch")}
    with files.atomic_file(out / "comparison.png") as file:
        Image.fromarray(pictures.sheet([row])).save(file)
    with files.atomic_file(out / "latent.npy") as file:
        np.save(file, np.asarray(found["z"]))
    with files.atomic_file(out / "result.json") as file:
        result = degrees | report | {"fingerprint": model.fingerprint}
        file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"loss {report['loss']:.4f}  yaw {degrees['yaw']:.1f}  pitch {degrees['pitch']:.1f} degrees; see {out}")


_loss = jax.jit(reconstruction_loss, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def step(run, model, target, found, state):
    """One step of Adam; returns what was found, the optimiser's state, and the loss before the step."""
    loss, grads = jax.value_and_grad(reconstruction_loss, argnums=3)(run, model, target, found)
    updates, state = optimizer(run).update(grads, state)
    found = optax.apply_updates(found, updates)
    limit = {"yaw": np.radians(run.yaw), "pitch": np.radians(run.pitch)}
    return found | {name: jnp.clip(found[name], -bound, bound) for name, bound in limit.items()}, state, loss


def optimizer(run):
    """Adam on latent and pose, each with its own cosine."""
    decay = functools.partial(optax.cosine_decay_schedule, decay_steps=run.steps, alpha=0.1)
    return optax.multi_transform(
        {"latent": optax.adam(decay(run.learning_rate)), "pose": optax.adam(decay(run.pose_learning_rate))},
        {"z": "latent", "yaw": "pose", "pitch": "pose"},
    )


_load = checkpoints.load  # the door has a parameter of this module's name


if __name__ == "__main__":
    cli.door(main)
