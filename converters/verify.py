"""Ours against recordings of EG3D, stage by stage: `python -m converters.verify CASE.json [--checkpoint DIR]`.

Without a checkpoint, the recorded network's weights are redrawn and converted just as a pickle's are. With one, the
checkpoint's weights, plane axes, ray limits and clamps are put to the test; the recording says only how densely to
sample. Errors are |out - recorded| / |recorded| (Frobenius). Every stage starts from recorded inputs (latents z, or
ws), so that the first bad line is where to look.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from converters import eg3d, golden
from dnerf_jax import cameras, checkpoint, generator, triplane

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
    """Return |output - reference| / |reference| in float64; infinite where shapes differ or a value is not finite."""
    if output.shape != reference.shape or not np.all(np.isfinite(output)):
        return math.inf
    reference = reference.astype(np.float64)
    return float(np.linalg.norm(output - reference) / np.linalg.norm(reference))


def run(model: checkpoint.Model, case: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return our outputs on a case's inputs, by the recording's names and in its layout (NCHW).

    `model` samples as the recording did: use `sampled_as`. Only what was recorded is computed.
    """
    config, variables = model.config, model.variables
    with jax.default_matmul_precision("highest"):
        outputs = _latents(config, variables, case, arrays)
        outputs |= _blocks(config, variables, case, arrays)
        outputs |= _points(config, variables, case, arrays)
        outputs |= _images(config, variables, case, arrays)
        if "grad_ws" in arrays:
            outputs |= _gradient(config, variables, case, arrays)
    return {name: np.asarray(output) for name, output in outputs.items()}


def sampled_as(model: checkpoint.Model, case: Mapping) -> checkpoint.Model:
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


def _blocks(config, variables, case, arrays):
    blocks = _planes(config, variables, case, arrays["ws"])
    step = _CROP["planes"]
    outputs = {}
    for name in blocks.hidden:
        outputs[f"x{name[1:]}"] = _channels_first(blocks.hidden[name])
        outputs[f"img{name[1:]}"] = _channels_first(blocks.skip[name])
    return outputs | {"planes_crop": _channels_first(blocks.last)[:, :, ::step, ::step]}


def _points(config, variables, case, arrays):
    if "points" not in arrays:
        return {}
    planes = triplane.split_channels(_planes(config, variables, case, arrays["ws"]).last, len(config.plane_axes))
    sigma, features = generator.decode(config, variables, planes, jnp.asarray(arrays["points"]))
    return {"points_rgb": features, "points_sigma": sigma[..., None]}


def _images(config, variables, case, arrays):
    rays = _rays(config, arrays)
    flat = [x.reshape(len(x), -1, 3)[:, :: _CROP["rays"]] for x in (rays.origins, rays.directions)]
    image, raw, depth = jax.jit(_render, static_argnums=(0, 2))(
        config, variables, case["noise_mode"], arrays["ws"], rays, _uniforms(config, arrays)
    )
    step = _CROP["image"] if image.shape[-2] > _WHOLE_IMAGE else 1
    return {
        **{"ray_origins": flat[0], "ray_directions": flat[1]},
        **{"image_raw": _channels_first(raw), "image_depth": depth[:, None]},
        "image_crop": _channels_first(image)[:, :, ::step, ::step],
        "image_mean": jnp.mean(image, axis=(1, 2)),
        "image_std": jnp.std(image, axis=(1, 2), ddof=1),
    }


def _gradient(config, variables, case, arrays):
    rays, uniforms = _rays(config, arrays), _uniforms(config, arrays)

    @jax.jit
    def loss(ws):
        image, _, depth = _render(config, variables, case["noise_mode"], ws, rays, uniforms)
        return jnp.mean(jnp.square(image)) + jnp.mean(depth)

    value, gradient = jax.value_and_grad(loss)(arrays["ws"])
    return {"loss": value, "grad_ws": gradient}


def _render(config, variables, noise_mode, ws, rays, uniforms):
    """The final image, the raw image and EG3D's depth, with recorded uniform draws."""
    blocks = generator.synthesize_planes(config, variables, ws, noise_mode=noise_mode)
    planes = triplane.split_channels(blocks.last, len(config.plane_axes))
    march = jax.vmap(lambda *args: generator.march(config, variables, *args[:2], uniforms=args[2]))
    samples = march(planes, rays, uniforms)
    features = generator.feature_image(config, samples)
    # Rays that nothing stops: EG3D gives them the largest depth of the whole batch, we the largest of their image.
    depth = jnp.where(samples.opacity > 0, samples.distance, jnp.max(samples.depths))
    return generator.super_resolve(config, variables, features, ws), features[..., :3], depth


def _planes(config, variables, case, ws):
    synthesize = jax.jit(lambda variables, ws: generator.synthesize_planes(
        config, variables, ws, noise_mode=case["noise_mode"]
    ))
    return synthesize(variables, ws)


def _rays(config, arrays):
    return cameras.rays(cameras.from_eg3d(jnp.asarray(arrays["c"])), config.neural_rendering_resolution)


def _uniforms(config, arrays):
    """The recorded draws, or the same drawn again, as (N, R, R, samples)."""
    batch, size, options = len(arrays["c"]), config.neural_rendering_resolution, config.rendering
    counts = options.depth_resolution, options.depth_resolution_importance
    drawn = golden.redraw_uniforms(batch, size * size, *counts)
    coarse, fine = (arrays.get(name, draw) for name, draw in zip(("u_coarse", "u_fine"), drawn, strict=True))
    return coarse.reshape(batch, size, size, -1), fine.reshape(batch, size, size, -1)


def _channels_first(image):
    return jnp.moveaxis(image, -1, -3)


def verify(path, model: checkpoint.Model | None = None) -> list[Line]:
    """Return the comparison of one recorded case with `model`, or with its own network redrawn and converted."""
    case, arrays = golden.load_case(path)
    if model is None:
        model = eg3d.convert(golden.record_from(case))
    return compare(run(sampled_as(model, case), case, arrays), arrays)


def table(lines: list[Line]) -> str:
    """Return the comparison as text: stage, relative error, tolerance, verdict."""
    rows = [f"{line.stage:16} {line.error:14.2e} {line.tolerance:10.0e}   {'ok' if line.ok else 'FAIL'}" for line in lines]
    return "\n".join([f"{'stage':16} {'relative error':>14} {'tolerance':>10}   verdict", *rows])


def main(argv: list[str] | None = None) -> int:
    """Verify cases and print their tables. Returns 0 if all stages are within tolerance, else 1."""
    parser = argparse.ArgumentParser(prog="python -m converters.verify", description=__doc__.partition("\n\n")[0])
    parser.add_argument("cases", metavar="CASE.json", nargs="+", help="a recorded case, its CASE.npz beside it")
    parser.add_argument("--checkpoint", metavar="DIR", help="verify this converted checkpoint instead of redrawn weights")
    args = parser.parse_args(argv)
    try:
        model = checkpoint.load(args.checkpoint) if args.checkpoint else None
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
