"""Ours against recordings of EG3D, stage by stage: `python -m converters.verify CASE.json`.

Without a checkpoint, the recorded network's weights are redrawn and converted just as a pickle's are. With
one, the checkpoint's weights, plane axes, ray limits and clamps are put to the test; the recording says only
how densely to sample. Errors are |out - recorded| / |recorded| (Frobenius). Every stage starts from recorded
inputs (latents z, or ws), so that the first bad line is where to look.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from converters import eg3d, golden
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.ops import cameras, triplane

TOLERANCE, FINAL_TOLERANCE = 1e-4, 1e-3
_FINAL = ("image_crop", "image_mean", "image_std", "loss", "grad_ws")
_CROP = {"planes": 16, "rays": 7, "image": 5}
_WHOLE_IMAGE = 128  # images up to this size are recorded whole


@dataclasses.dataclass(frozen=True)
class Line:
    """One stage of a comparison; `error` is infinite where the shapes differ."""

    stage: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance


def compare(outputs: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]) -> list[Line]:
    """Return a line per output that was recorded, in the order of `outputs`."""
    lines = []
    for stage, output in outputs.items():
        if stage in recorded:
            tolerance = FINAL_TOLERANCE if stage in _FINAL else TOLERANCE
            lines.append(Line(stage, relative_error(np.asarray(output), recorded[stage]), tolerance))
    return lines


def relative_error(output: np.ndarray, reference: np.ndarray) -> float:
    """Return |output - reference| / |reference|; infinite where shapes differ or a value is not finite."""
    if output.shape != reference.shape or not np.all(np.isfinite(output)):
        return math.inf
    reference = reference.astype(np.float64)
    return float(np.linalg.norm(output - reference) / np.linalg.norm(reference))


def run(model: checkpoints.Model, case: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return our outputs on a case's inputs, by the recording's names and in its layout (NCHW).

    `model` samples as the recording did: use `sampled_as`. The gradient is computed only if it was recorded.
    """
    config, variables = model.config, model.variables
    recorded = _recorded(config, arrays)
    with jax.default_matmul_precision("highest"):
        outputs = _latents(config, variables, case, arrays)
        blocks = jax.jit(_synthesize, static_argnums=(0, 3))(
            config, variables, arrays["ws"], case["noise_mode"]
        )
        outputs |= _blocks(blocks)
        planes = triplane.split_channels(blocks.last, len(config.plane_axes))
        if "points" in arrays:
            sigma, features = jax.jit(generator.decode, static_argnums=0)(
                config, variables, planes, arrays["points"]
            )
            outputs |= {"points_rgb": features, "points_sigma": sigma[..., None]}
        outputs |= _images(config, variables, planes, recorded)
        if "grad_ws" in arrays:
            outputs |= _gradient(config, variables, case, recorded)
    return {name: np.asarray(output) for name, output in outputs.items()}


def sampled_as(model: checkpoints.Model, case: Mapping) -> checkpoints.Model:
    """Return the model with a recording's resolution and samples per ray; all else stays the model's own."""
    names = ("depth_resolution", "depth_resolution_importance")
    rendering = dataclasses.replace(
        model.config.rendering, **{name: case["rendering_kwargs"][name] for name in names}
    )
    resolution = case["neural_rendering_resolution"]
    config = dataclasses.replace(model.config, rendering=rendering, neural_rendering_resolution=resolution)
    return model.replace(config=config)


def _latents(config, variables, case, arrays):
    psi, cutoff = case["truncation_psi"], case["truncation_cutoff"]

    @jax.jit
    def map_latents(variables, z, c):
        full = generator.map_latents(config, variables, z, c)
        return full, generator.map_latents(
            config, variables, z, c, truncation_psi=psi, truncation_cutoff=cutoff
        )

    full, truncated = map_latents(variables, arrays["z"], arrays["c_cond"])
    return {"ws": truncated, "ws_full": full}


def _synthesize(config, variables, ws, noise_mode):
    return generator.synthesize_planes(config, variables, ws, noise_mode=noise_mode)


def _blocks(blocks):
    step = _CROP["planes"]
    outputs = {}
    for name in sorted(blocks.hidden, key=lambda name: int(name[1:])):
        outputs[f"x{name[1:]}"] = _channels_first(blocks.hidden[name])
        outputs[f"img{name[1:]}"] = _channels_first(blocks.skip[name])
    return outputs | {"planes_crop": _channels_first(blocks.last)[:, :, ::step, ::step]}


def _images(config, variables, planes, inputs):
    image, raw, depth = jax.jit(_render, static_argnums=0)(config, variables, planes, *inputs)
    flat = [
        x.reshape(len(x), -1, 3)[:, :: _CROP["rays"]] for x in (inputs.rays.origins, inputs.rays.directions)
    ]
    step = _CROP["image"] if image.shape[-2] > _WHOLE_IMAGE else 1
    return {
        **{"ray_origins": flat[0], "ray_directions": flat[1]},
        **{"image_raw": _channels_first(raw), "image_depth": depth[:, None]},
        "image_crop": _channels_first(image)[:, :, ::step, ::step],
        "image_mean": jnp.mean(image, axis=(1, 2)),
        "image_std": jnp.std(image, axis=(1, 2), ddof=1),
    }


def _gradient(config, variables, case, inputs):
    """The loss and its gradient in ws, sample by sample: the batch's mean at a fraction of its memory."""

    def loss(variables, inputs):
        one = jax.tree.map(lambda x: x[None], inputs)
        blocks = _synthesize(config, variables, one.ws, case["noise_mode"])
        planes = triplane.split_channels(blocks.last, len(config.plane_axes))
        image, _, depth = _render(config, variables, planes, *one)
        return jnp.mean(jnp.square(image)) + jnp.mean(depth)

    step = jax.jit(jax.value_and_grad(lambda ws, variables, inputs: loss(variables, inputs._replace(ws=ws))))
    samples = [jax.tree.map(lambda x, i=i: x[i], inputs) for i in range(len(inputs.ws))]
    values, gradients = zip(*(step(one.ws, variables, one) for one in samples), strict=True)
    return {"loss": sum(values) / len(values), "grad_ws": jnp.stack(gradients) / len(gradients)}


def _render(config, variables, planes, ws, rays, uniforms):
    """The final image, the raw image and EG3D's depth (N, H, W), with recorded uniform draws."""
    march = jax.vmap(lambda *args: generator.march(config, variables, *args[:2], uniforms=args[2]))
    samples = march(planes, rays, uniforms)
    features = generator.feature_image(config, samples)
    # Rays that nothing stops: EG3D gives them the largest depth of the batch, we that of their image.
    depth = jnp.where(samples.opacity > 0, samples.distance, jnp.max(samples.depths))
    return generator.super_resolve(config, variables, features, ws), features[..., :3], depth


class _Inputs(NamedTuple):
    """What is rendered: ws (N, num_ws, w_dim), rays (N, R, R), uniform draws (N, R, R, samples) twice."""

    ws: np.ndarray
    rays: cameras.Rays
    uniforms: tuple


def _recorded(config, arrays) -> _Inputs:
    """The recorded inputs; draws that were not recorded are drawn again."""
    batch, size, options = len(arrays["c"]), config.neural_rendering_resolution, config.rendering
    drawn = golden.redraw_uniforms(
        batch, size * size, options.depth_resolution, options.depth_resolution_importance
    )
    uniforms = (arrays.get(name, draw) for name, draw in zip(("u_coarse", "u_fine"), drawn, strict=True))
    rays = cameras.rays(cameras.from_eg3d(jnp.asarray(arrays["c"])), size)
    return _Inputs(arrays["ws"], rays, tuple(u.reshape(batch, size, size, -1) for u in uniforms))


def _channels_first(image):
    return jnp.moveaxis(image, -1, -3)


def verify(path, model: checkpoints.Model | None = None) -> list[Line]:
    """Return a recorded case's comparison with `model`, or with its own network redrawn and converted."""
    case, arrays = golden.load_case(path)
    if model is None:
        model = eg3d.convert(golden.record_from(case))
    return compare(run(sampled_as(model, case), case, arrays), arrays)


def table(lines: list[Line]) -> str:
    """Return the comparison as text: stage, relative error, tolerance, verdict."""
    rows = [
        f"{line.stage:16} {line.error:14.2e} {line.tolerance:10.0e}   {'ok' if line.ok else 'FAIL'}"
        for line in lines
    ]
    return "\n".join([f"{'stage':16} {'relative error':>14} {'tolerance':>10}   verdict", *rows])


def main(argv: list[str] | None = None) -> int:
    """Verify cases and print their tables. Returns 0 if all stages are within tolerance, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m converters.verify", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument(
        "cases", metavar="CASE.json", nargs="+", help="a recorded case, its CASE.npz beside it"
    )
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="verify this converted checkpoint instead of redrawn weights"
    )
    args = parser.parse_args(argv)
    try:
        model = checkpoints.load(args.checkpoint) if args.checkpoint else None
        good = True
        for case in args.cases:
            lines = verify(case, model)
            good = good and bool(lines) and all(line.ok for line in lines)
            print(f"{case}\n{table(lines)}\n", flush=True)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("all stages are within tolerance" if good else "some stages are beyond tolerance")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
