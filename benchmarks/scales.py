"""What a semantic branch's planes cost, from ever finer scales on: python -m benchmarks.scales [--json FILE]

Of random features as large as a generator's. W_1 is applied at each scale's own resolution, so what a scale costs is
little where it is coarse, however many channels it has. Once for every scene; the gradient is in the parameters.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import semantic
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.semantic import Branch, SemanticConfig
from dnerf_jax.networks.stylegan2 import block_resolutions
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import branch, process

COLUMNS = {
    "from": "scales from",
    "channels": "channels",
    "parameters": "parameters of the branch",
    "planes_s": "planes, s",
    "gradient_s": "with gradient, s",
    "share": "of all scales' planes",
    "gradient_share": "of all, with gradient",
}


def main(json: str = "", checkpoint: str = "heads", repeats: Count = 9) -> dict[str, Any]:
    """Times the planes of configs/heads.py's branch from all scales, and from ever finer ones.

    json: file for the numbers
    checkpoint: the generator, whose blocks the scales are
    repeats: timed calls of each
    """
    process.prepare()
    config = checkpoints.load(checkpoint).generator.config
    form = dataclasses.replace(cli.load_settings("heads", branch.Settings).semantic, num_classes=12)
    return compare(config, form, {"checkpoint": checkpoint, "latents": 1, "repeats": repeats}, repeats, json)


def compare(
    config: GeneratorConfig, form: SemanticConfig, sizes: dict[str, Any], repeats: int, path: str
) -> dict[str, Any]:
    """Times a form's planes from each scale on, prints and writes what was found."""
    scales, rows, calls = block_resolutions(config.plane_resolution), [], {}
    for i, first in enumerate(scales):
        chosen = dataclasses.replace(form, scales=tuple(scales[i:]))
        made = semantic.init(chosen, config, jax.random.key(0))
        shapes = zip(semantic.feature_resolutions(chosen, config), semantic.feature_widths(chosen, config), strict=True)
        features = [jax.random.normal(jax.random.key(j), (r, r, width)) for j, (r, width) in enumerate(shapes)]
        parameters = sum(x.size for x in jax.tree.leaves(made.params))
        rows.append({"from": first, "channels": sum(x.shape[-1] for x in features), "parameters": parameters})
        planes = functools.partial(_planes, chosen, config, features)
        calls[first, "planes_s"] = functools.partial(jax.jit(planes), made.params)
        squares = jax.jit(jax.grad(lambda params, planes=planes: jnp.sum(jnp.square(planes(params)))))
        calls[first, "gradient_s"] = functools.partial(squares, made.params)
    timed = measure.take_turns(calls, repeats)
    for row in rows:
        row |= {what: timed[row["from"], what]["median_s"] for what in ("planes_s", "gradient_s")}
        row |= {"share": row["planes_s"] / rows[0]["planes_s"]}
        row |= {"gradient_share": row["gradient_s"] / rows[0]["gradient_s"]}
    return measure.report("benchmarks.scales", sizes, rows, COLUMNS, path)


def _planes(form: SemanticConfig, config: GeneratorConfig, features: list[jax.Array], params: Any) -> jax.Array:
    return semantic.synthesize_planes(Branch(form, params), config, features)


if __name__ == "__main__":
    cli.door(main)
