"""Labelled views per second: python -m benchmarks.factory [--checkpoint NAME] [--dtype bfloat16] [--json FILE]

A labelled view is image, mask, depth and 3D points, from the latent on; files are not written. The more views a latent
has, the less its planes cost each; a batch is of so many latents. Whole views and views of which the empty is skipped
(`scenes.render`, skip_empty) are timed in turn, and compared: on which share of the pixels labels agree, and the PSNR
of the worst image, at a peak of 2. Processor time is what workers with one core each need.

Without --checkpoint the generator is EG3D's 512-128 with random weights. Their density is everywhere about the same, so
it is shifted until HITS of a frontal view's rays hit something, and scaled until that is as solid as a head: scattered
blobs, harder to skip than what surrounds one head. In half precision it also tells on which share of the pixels the
labels are those of float32, which says something of a trained branch only: among random logits many nearly tie.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import eg3d, measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator, marching, scenes, semantic
from dnerf_jax.models.generator import Generator, GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process

HITS = 0.4  # of a view's rays
SOLID = 300.0  # standard deviation of the raw density: a hundredth of the box's side stops nearly all light

COLUMNS = {
    "skip_empty": "skips what is empty",
    "views": "views per latent",
    "batch": "latents at once",
    "median_s": "time, s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "cpu_s": "processor time, s",
    "views_per_s": "labelled views / s",
    "faster": "times as fast",
    "cpu_faster": "in processor time",
    "labels": "labels as whole",
    "psnr": "worst PSNR, dB",
    "agreement": "labels as in float32",
    "temporary_mib": "temporary MiB",
}


def main(
    checkpoint: str = "",
    views: str = "1,4,16",
    batches: str = "1,2",
    dtype: str = "float32",
    repeats: Count = 5,
    json: str = "",
) -> dict[str, Any]:
    """Times the making of labelled views.

    checkpoint: folder of a generator, or an embedded name; EG3D's size with random weights if none is named
    views: views of every latent, several numbers separated by commas
    batches: latents at once, likewise
    dtype: of the convolutions, float32, bfloat16 or float16
    repeats: timed calls of each
    json: file for the numbers
    """
    counts = {"--views": views, "--batches": batches}
    for name, text in counts.items():
        if not all(part.isdecimal() and int(part) for part in text.split(",")):
            raise ValueError(f"{name} is {text!r}: expected numbers separated by commas, such as 1,4,16.")
    measure.require_dtype(dtype)
    process.prepare()
    model = checkpoints.load(checkpoint) if checkpoint else Model(random_generator(GeneratorConfig()))
    if model.semantic is None:
        model = model.replace(semantic=semantic.init(eg3d.SEMANTIC, model.generator.config, jax.random.key(1)))
    pairs = [(int(v), int(b)) for v in views.split(",") for b in batches.split(",")]
    sizes = {"checkpoint": checkpoint or "random 512-128", "dtype": dtype, "repeats": repeats}
    rows = [row for pair in pairs for row in both_ways(model, *pair, dtype, repeats)]
    return measure.report("benchmarks.factory", sizes, rows, COLUMNS, json)


def random_generator(config: GeneratorConfig) -> Generator:
    """A generator with random weights whose density is that of solid things, which HITS of a view's rays hit."""
    made = generator.init(config, jax.random.key(0))
    z = jax.random.normal(jax.random.key(2), (config.z_dim,))

    @jax.jit
    def densities(made: Generator, z: jax.Array) -> jax.Array:
        rays = cameras.rays(scenes.default_camera(config), 64)
        samples = marching.march(made, scenes.synthesize(Model(made), z).planes, rays)
        return generator.decode(made, scenes.synthesize(Model(made), z).planes, samples.points.reshape(-1, 3))[0]

    raw = densities(made, z).reshape(64 * 64, -1)
    level, scale = jnp.quantile(jnp.max(raw, axis=-1), 1 - HITS), SOLID / jnp.std(raw)
    last = made.variables["params"]["decoder"]["fc1"]
    last["weight"] = last["weight"].at[:, 0].multiply(scale)
    bias = scale * (last["bias"][0] - level / config.decoder_lr_mul)
    last["bias"] = last["bias"].at[0].set(bias)
    return made


def both_ways(model: Model, views: int, batch: int, dtype: str, repeats: int) -> list[dict[str, Any]]:
    """The measurements for so many views of each of so many latents, convolutions in `dtype`: whole, and skipped."""
    config = model.generator.config
    z = jax.random.normal(jax.random.key(2), (batch, config.z_dim))
    around = scenes.default_camera(config, yaw=jnp.linspace(-0.4, 0.4, views))

    def maker(skip_empty: bool) -> Any:
        rows = process.rows_at_once(model, views=1 if skip_empty else views * batch)

        @jax.jit
        def make(model: Model, z: jax.Array, camera: Camera) -> tuple[jax.Array, ...]:
            scene = scenes.synthesize(model, z)[:, None]
            view = scenes.render(model, scene, camera, rows_at_once=rows, skip_empty=skip_empty)
            return view.image, view.mask, view.depth_z, view.points

        return make

    def in_type(dtype: str) -> Model:
        return model.replace(generator=model.generator.replace(config=dataclasses.replace(config, dtype=dtype)))

    wanted, makers = in_type(dtype), {"whole": maker(False), "skipped": maker(True)}
    spent: dict[str, list[float]] = {name: [] for name in makers}

    def call(name: str) -> None:
        start = time.process_time()
        jax.block_until_ready(makers[name](wanted, z, around))
        spent[name].append(time.process_time() - start)

    timed = measure.take_turns({name: functools.partial(call, name) for name in makers}, repeats)
    rows, (image, mask, *_) = [], makers["whole"](wanted, z, around)
    for name, make in makers.items():
        found = {"skip_empty": name == "skipped", "views": views, "batch": batch} | timed[name]
        found |= measure.costs(make, wanted, z, around)
        found["cpu_s"] = float(np.median(spent[name][-repeats:]))
        found["views_per_s"] = views * batch / found["median_s"]
        if name == "skipped":
            own_image, own_mask, *_ = make(wanted, z, around)
            found |= {"labels": float(jnp.mean(own_mask == mask)), "psnr": _worst_psnr(own_image, image)}
            found["faster"] = rows[0]["median_s"] / found["median_s"]
            found["cpu_faster"] = rows[0]["cpu_s"] / found["cpu_s"]
        if dtype != "float32":
            found["agreement"] = float(jnp.mean(make(wanted, z, around)[1] == make(in_type("float32"), z, around)[1]))
        print(f"{views} views of {batch} latents, {name}: {found['views_per_s']:.3g} / s", flush=True)
        rows.append(found)
    return rows


def _worst_psnr(images: jax.Array, expected: jax.Array) -> float:
    """The smallest PSNR among images (..., R, R, 3) in [-1, 1], in dB."""
    error = jnp.mean(jnp.square(images - expected), axis=(-3, -2, -1))
    return float(10 * jnp.log10(4 / jnp.maximum(jnp.max(error), 1e-20)))


if __name__ == "__main__":
    cli.door(main)
