"""Labelled views per second: python -m benchmarks.factory [--checkpoint NAME] [--dtype bfloat16] [--json FILE]

A labelled view is image, mask, depth and 3D points, from the latent on; files are not written. The more views a latent
has, the less its planes cost each; a batch is of so many latents. Without --checkpoint the generator is EG3D's 512-128
with random weights. In half precision it also tells on which share of the pixels the labels are those of float32, which
says something of a trained branch only: among random logits many nearly tie.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import eg3d, measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator, scenes, semantic
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process

COLUMNS = {
    "views": "views per latent",
    "batch": "latents at once",
    "median_s": "time, s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "views_per_s": "labelled views / s",
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
    model = checkpoints.load(checkpoint) if checkpoint else Model(generator.init(GeneratorConfig(), jax.random.key(0)))
    if model.semantic is None:
        model = model.replace(semantic=semantic.init(eg3d.SEMANTIC, model.generator.config, jax.random.key(1)))
    pairs = [(int(v), int(b)) for v in views.split(",") for b in batches.split(",")]
    sizes = {"checkpoint": checkpoint or "random 512-128", "dtype": dtype, "repeats": repeats}
    rows = [row(model, *pair, dtype, repeats) for pair in pairs]
    return measure.report("benchmarks.factory", sizes, rows, COLUMNS, json)


def row(model: Model, views: int, batch: int, dtype: str, repeats: int) -> dict[str, Any]:
    """The measurements for so many views of each of so many latents, with convolutions in `dtype`."""
    config = model.generator.config
    z = jax.random.normal(jax.random.key(2), (batch, config.z_dim))
    around = scenes.default_camera(config, yaw=jnp.linspace(-0.4, 0.4, views))
    rows = process.rows_at_once(model, views=views * batch)

    @jax.jit
    def make(model: Model, z: jax.Array, camera: Camera) -> tuple[jax.Array, ...]:
        view = scenes.render(model, scenes.synthesize(model, z)[:, None], camera, rows_at_once=rows)
        return view.image, view.mask, view.depth_z, view.points

    def in_type(dtype: str) -> Model:
        return model.replace(generator=model.generator.replace(config=dataclasses.replace(config, dtype=dtype)))

    wanted = in_type(dtype)
    timed = measure.take_turns({"make": lambda: make(wanted, z, around)}, repeats)["make"]
    found = {"views": views, "batch": batch} | timed | measure.costs(make, wanted, z, around)
    if dtype != "float32":
        found["agreement"] = float(jnp.mean(make(wanted, z, around)[1] == make(in_type("float32"), z, around)[1]))
    found["views_per_s"] = views * batch / found["median_s"]
    print(f"{views} views of {batch} latents: {found['views_per_s']:.3g} / s", flush=True)
    return found


if __name__ == "__main__":
    cli.door(main)
