"""The enhanced tri-plane, directly and as we compute it: python -m benchmarks.semantic [--json FILE]

Direct is the paper's section 3.2 to the letter: every scale upsampled to the largest resolution, all of them
concatenated, split into three planes, sampled, summed, and the first linear layer applied at the samples. Ours applies
that layer first, at each scale's own resolution. Both are given the same random features of EG3D's size and the same
points, and both sample planes with the same function. The gradient is in the layer's weight and bias.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.models import semantic
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.semantic import SemanticConfig
from dnerf_jax.networks.decoders import softplus
from dnerf_jax.networks.semantic_head import SemanticHead
from dnerf_jax.networks.stylegan2 import block_resolutions
from dnerf_jax.ops import triplane
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process

COLUMNS = {
    "features": "features",
    "ours_s": "ours, s",
    "direct_s": "direct, s",
    "speedup_forward": "forward, times as fast",
    "ours_backward_s": "with gradient, s",
    "direct_backward_s": "direct, s",
    "speedup_backward": "times as fast",
    "ours_mib": "temporary MiB",
    "direct_mib": "direct",
    "ours_backward_mib": "with gradient, MiB",
    "direct_backward_mib": "direct",
    "memory_ratio": "planes, ours / direct",
    "relative_error": "relative error",
}


def main(json: str = "", rays: Count = 128, samples: Count = 48, repeats: Count = 5) -> dict[str, Any]:
    """Compares the enhanced tri-plane's two forms, for both kinds of features.

    json: file for the numbers
    rays: side of the image of rays
    samples: samples of every ray
    repeats: timed calls of each
    """
    process.prepare()
    sizes = {"rays": f"{rays} x {rays}", "samples": samples, "dtype": "float32", "batch": 1, "repeats": repeats}
    return compare(GeneratorConfig(), sizes, rays, samples, repeats, json)


def compare(
    config: GeneratorConfig, sizes: dict[str, Any], rays: int, samples: int, repeats: int, path: str
) -> dict[str, Any]:
    """Times both forms on a generator's features, prints and writes what was found."""
    rows = [row(config, features, rays, samples, repeats) for features in ("hidden", "skip")]
    return measure.report("benchmarks.semantic", sizes, rows, COLUMNS, path)


def row(config: GeneratorConfig, features: str, rays: int, samples: int, repeats: int) -> dict[str, Any]:
    """The measurements for one kind of features."""
    form = SemanticConfig(num_classes=19, features=features)
    widths, resolutions = semantic.feature_widths(form, config), block_resolutions(config.plane_resolution)
    key = jax.random.key(0)
    maps = [
        jax.random.normal(jax.random.fold_in(key, r), (1, r, r, width))
        for r, width in zip(resolutions, widths, strict=True)
    ]
    params = semantic.init(form, config, key).params
    # Along parallel rays through the box, as neighbours lie in a rendering.
    across = (np.arange(rays) + 0.5) / rays - 0.5
    deep = (np.arange(samples) + 0.5) / samples - 0.5
    grid = np.stack(np.meshgrid(across, across, deep, indexing="ij"), axis=-1) @ _rotation()
    points = jnp.asarray(grid.reshape(1, -1, 3), jnp.float32)

    axes, box = config.plane_axes, config.rendering.box_warp

    def ours(params: Any, maps: list[jax.Array], points: jax.Array) -> jax.Array:
        head = semantic.network(form, config)
        planes = head.apply({"params": params}, maps, method=SemanticHead.planes)
        return head.apply({"params": params}, planes, points, axes, box, method=SemanticHead.hidden)

    def direct(params: Any, maps: list[jax.Array], points: jax.Array) -> jax.Array:
        weight, bias = params["first_weight"], params["first_bias"]
        sampled = triplane.sample(direct_planes(maps, len(axes)), points, plane_axes=axes, box_warp=box)
        return softplus(sampled @ (weight / np.sqrt(len(weight))) + bias)

    forward = {"ours": jax.jit(ours), "direct": jax.jit(direct)}
    backward = {name: jax.jit(jax.value_and_grad(_total(function))) for name, function in forward.items()}
    arguments = params, maps, points
    values = [np.asarray(function(*arguments)) for function in forward.values()]
    found = {"features": features, "channels": sum(widths)}
    for suffix, functions in (("", forward), ("_backward", backward)):
        calls = {name: (lambda function=function: function(*arguments)) for name, function in functions.items()}
        for name, timed in measure.take_turns(calls, repeats).items():
            found[f"{name}{suffix}_s"], found[f"{name}{suffix}_times"] = timed["median_s"], timed
            found[f"{name}{suffix}_mib"] = measure.costs(functions[name], *arguments)["temporary_mib"]
    plane = config.plane_resolution**2 * 4 * len(config.plane_axes)
    found |= {
        "speedup_forward": found["direct_s"] / found["ours_s"],
        "speedup_backward": found["direct_backward_s"] / found["ours_backward_s"],
        "memory_ratio": plane * form.hidden / (plane * len(params["first_weight"])),
        "relative_error": float(np.linalg.norm(values[0] - values[1]) / np.linalg.norm(values[1])),
    }
    print(f"{features}: {found['speedup_forward']:.2f}, with gradient {found['speedup_backward']:.2f}", flush=True)
    return found


def direct_planes(maps: list[jax.Array], count: int) -> jax.Array:
    """The paper's planes (N, P, R, R, C): scales upsampled, concatenated; of each, a third of the channels a plane."""
    largest = maps[-1].shape[1]
    planes = []
    for x in maps:
        up = jax.image.resize(x, (len(x), largest, largest, x.shape[-1]), "bilinear")
        third = -(-x.shape[-1] // count)
        # Where the number of planes does not divide the channels, the last plane's are filled up with zeros.
        up = jnp.pad(up, ((0, 0),) * 3 + ((0, count * third - x.shape[-1]),))
        planes.append(triplane.split_channels(up, count))
    return jnp.concatenate(planes, axis=-1)


def _total(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda *arguments: jnp.sum(jnp.square(function(*arguments)))


def _rotation() -> np.ndarray:
    """By 20 degrees about the vertical axis."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


if __name__ == "__main__":
    cli.door(main)
