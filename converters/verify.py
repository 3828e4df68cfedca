"""Ours against recordings of EG3D or GNARF, stage by stage: `python -m converters.verify CASE.json`.

Recordings of GNARF are of bodies, see `gnarf_verify`; what follows is of EG3D's. Without a checkpoint, the recorded
network's weights are redrawn and converted just as a pickle's are. With one, the checkpoint's weights, plane axes, ray
limits and clamps are put to the test; the recording says only how densely to sample. Errors are
|out - recorded| / |recorded| (Frobenius). Every stage starts from recorded inputs (latents z, or ws), so that the first
bad line is where to look.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import marching
from dnerf_jax.models.generator import GeneratorConfig, decode, map_latents, super_resolve, synthesize_blocks, to_planes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras

from . import eg3d, gnarf_golden, gnarf_verify, golden
from .attributes import FINE, Problems
from .comparison import Line, relative_error, table
from .refusals import naming

TOLERANCE, FINAL_TOLERANCE = 1e-4, 1e-3
_FINAL = ("image_crop", "image_mean", "image_std", "loss", "grad_ws")
_CROP = {"planes": 16, "rays": 7, "image": 5}
_WHOLE_IMAGE = 128  # images up to this size are recorded whole


def compare(outputs: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]) -> list[Line]:
    """A line per output that was recorded, in the order of `outputs`."""
    lines = []
    for stage, output in outputs.items():
        if stage in recorded:
            tolerance = FINAL_TOLERANCE if stage in _FINAL else TOLERANCE
            lines.append(Line(stage, relative_error(np.asarray(output), recorded[stage]), tolerance))
    return lines


def run(model: Model, case: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our outputs on a case's inputs, by the recording's names and in its layout (NCHW).

    `model` samples as the recording did: use `sampled_as`. The gradient is computed only if it was recorded.
    """
    generator = model.generator
    recorded = _recorded(generator.config, arrays)
    with jax.default_matmul_precision("highest"):
        outputs = _latents(generator, case, arrays)
        blocks = jax.jit(_synthesize, static_argnums=2)(generator, arrays["ws"], case["noise_mode"])
        outputs |= _blocks(blocks)
        planes = to_planes(generator.config, blocks)
        if "points" in arrays:
            raw_density, features = jax.jit(decode)(generator, planes, arrays["points"])
            outputs |= {"points_rgb": features, "points_sigma": raw_density[..., None]}
        if "grad_ws" in arrays:
            rendered, gradient = _with_gradient(generator, case, recorded)
            outputs |= _images(rendered, recorded.rays) | gradient
        else:
            outputs |= _images(jax.jit(_render)(generator, planes, *recorded), recorded.rays)
    return {name: np.asarray(output) for name, output in outputs.items()}


def sampled_as(model: Model, case: Mapping) -> Model:
    """The model with a recording's resolution and samples per ray; all else stays the model's own."""
    config = model.generator.config
    names = ("depth_resolution", "depth_resolution_importance")
    rendering = dataclasses.replace(config.rendering, **{name: case["rendering_kwargs"][name] for name in names})
    resolution = case["neural_rendering_resolution"]
    config = dataclasses.replace(config, rendering=rendering, neural_rendering_resolution=resolution)
    return model.replace(generator=model.generator.replace(config=config))


def _latents(generator, case, arrays):
    psi, cutoff = case["truncation_psi"], case["truncation_cutoff"]

    @jax.jit
    def both(generator, z, c):
        truncated = map_latents(generator, z, c, truncation_psi=psi, truncation_cutoff=cutoff)
        return {"ws": truncated, "ws_full": map_latents(generator, z, c)}

    return both(generator, arrays["z"], arrays["c_cond"])


def _synthesize(generator, ws, noise_mode):
    return synthesize_blocks(generator, ws, noise_mode=noise_mode)


def _blocks(blocks):
    step = _CROP["planes"]
    outputs = {}
    for name in sorted(blocks.hidden, key=lambda name: int(name[1:])):
        outputs[f"x{name[1:]}"] = _channels_first(blocks.hidden[name])
        outputs[f"img{name[1:]}"] = _channels_first(blocks.skip[name])
    return outputs | {"planes_crop": _channels_first(blocks.last)[:, :, ::step, ::step]}


def _images(rendered, rays):
    image, raw, depth = (np.asarray(x) for x in rendered)
    flat = [np.reshape(x, (len(x), -1, 3))[:, :: _CROP["rays"]] for x in (rays.origins, rays.directions)]
    step = _CROP["image"] if image.shape[-2] > _WHOLE_IMAGE else 1
    return {
        **{"ray_origins": flat[0], "ray_directions": flat[1]},
        **{"image_raw": _channels_first(raw), "image_depth": depth[:, None]},
        "image_crop": _channels_first(image)[:, :, ::step, ::step],
        "image_mean": np.mean(image, axis=(1, 2)),
        "image_std": np.std(image, axis=(1, 2), ddof=1),
    }


def _with_gradient(generator, case, inputs):
    """What is rendered, and the loss and its gradient in ws: sample by sample, at a fraction of the batch's memory."""

    def loss(ws, generator, inputs):
        one = jax.tree.map(lambda x: x[None], inputs._replace(ws=ws))
        blocks = _synthesize(generator, one.ws, case["noise_mode"])
        image, raw, depth = _render(generator, to_planes(generator.config, blocks), *one)
        return jnp.mean(jnp.square(image)) + jnp.mean(depth), (image[0], raw[0], depth[0])

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    samples = [jax.tree.map(lambda x, i=i: x[i], inputs) for i in range(len(inputs.ws))]
    results = [step(one.ws, generator, one) for one in samples]
    values, rendered, gradients = zip(*((value, seen, gradient) for (value, seen), gradient in results), strict=True)
    means = {"loss": np.mean(values), "grad_ws": np.stack(gradients) / len(gradients)}
    return [np.stack(parts) for parts in zip(*rendered, strict=True)], means


def _render(generator, planes, ws, rays, uniforms):
    """The final image, the raw image and EG3D's depth (N, H, W), with recorded uniform draws."""

    def march(planes, rays, uniforms):
        return marching.march(generator, planes, rays, uniforms=uniforms)

    samples = jax.vmap(march)(planes, rays, uniforms)
    features = marching.feature_image(generator.config, samples)
    # Rays that nothing stops: EG3D gives them the largest depth of the batch, we that of their image.
    depth = jnp.where(samples.opacity > 0, samples.distance, jnp.max(samples.depths))
    return super_resolve(generator, features, ws), features[..., :3], depth


class _Inputs(NamedTuple):
    """What is rendered: ws (N, num_ws, w_dim), rays (N, R, R), uniform draws (N, R, R, samples) twice."""

    ws: np.ndarray
    rays: cameras.Rays
    uniforms: tuple


def _recorded(config, arrays) -> _Inputs:
    """The recorded inputs; draws that were not recorded are drawn again."""
    batch, size, options = len(arrays["c"]), config.neural_rendering_resolution, config.rendering
    drawn = golden.redraw_uniforms(batch, size * size, options.depth_resolution, options.depth_resolution_importance)
    uniforms = (arrays.get(name, draw) for name, draw in zip(("u_coarse", "u_fine"), drawn, strict=True))
    rays = cameras.rays(cameras.from_eg3d(jnp.asarray(arrays["c"])), size)
    return _Inputs(arrays["ws"], rays, tuple(u.reshape(batch, size, size, -1) for u in uniforms))


def _channels_first(image):
    return np.moveaxis(np.asarray(image), -1, -3)


def verify(path: str | os.PathLike, model: Model | None = None) -> list[Line]:
    """A recorded case's comparison with `model`, or with its own network redrawn and converted."""
    if gnarf_golden.is_one(golden.read_case(path)):
        if model is not None:
            raise ValueError(f"{path}: a recording of GNARF has weights of its own: give no checkpoint")
        return gnarf_verify.verify(path)
    case, arrays = golden.load_case(path)
    with naming(path):
        if model is None:
            model = eg3d.convert(golden.record_from(case))
        else:
            _check_network(model.generator.config, case)
        model = sampled_as(model, case)
        _check_inputs(model.generator.config, case, arrays)
    return compare(run(model, case, arrays), arrays)


def _check_network(config: GeneratorConfig, case: Mapping) -> None:
    """Raises ValueError unless a checkpoint is, by its sizes, the recorded network."""
    arguments = case["init_kwargs"]
    own = {name: getattr(config, name) for name in ("z_dim", "c_dim", "w_dim")}
    own |= {"img_resolution": config.image_resolution}
    others = [f"{name} {size} (recorded {arguments[name]})" for name, size in own.items() if size != arguments[name]]
    if others:
        raise ValueError(
            f"the checkpoint is of another network than the recorded: {', '.join(others)}; give the checkpoint that "
            "was converted from the recorded network, or none: its weights are then redrawn"
        )


def _check_inputs(config: GeneratorConfig, case: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError that lists which options and inputs a case lacks, or has in other shapes than its network's."""
    problems = Problems()
    problems.number(case, "truncation_psi", "the case")
    if case.get("truncation_cutoff") is not None:
        problems.size(case, "truncation_cutoff", "the case", allowed=FINE)
    problems.expect("noise_mode of the case", case.get("noise_mode"), "const", "none")
    batch = len(arrays["z"]) if "z" in arrays and arrays["z"].ndim else 0
    rays, options = config.neural_rendering_resolution**2, config.rendering
    shapes = {
        "z": (batch, config.z_dim),
        "c": (batch, 25),
        "c_cond": (batch, config.c_dim),
        "ws": (batch, config.num_ws, config.w_dim),
    }
    optional = {
        "points": (batch, *arrays["points"].shape[1:-1], 3) if "points" in arrays else (),
        "u_coarse": (batch, rays, options.depth_resolution, 1),
        "u_fine": (batch * rays, options.depth_resolution_importance),
    }
    shapes |= {name: shape for name, shape in optional.items() if name in arrays}
    for name, shape in shapes.items():
        found = arrays[name].shape if name in arrays else None
        if found != shape or not batch or arrays[name].dtype.kind != "f":
            problems.append(f"the array {name} has the shape {found}, expected floating-point numbers {shape}")
    problems.stop("its inputs do not fit its network")


def main(*cases: str, checkpoint: str = "") -> int:
    """Prints the table of every recorded case; the status is 0 if all stages are within tolerance, else 1.

    cases: NAME.json of recorded cases, each with its NAME.npz beside it
    checkpoint: folder of a converted checkpoint to verify; without one, the recorded weights are redrawn
    """
    model = checkpoints.load(checkpoint) if checkpoint else None
    good = True
    for case in cases:
        lines = verify(case, model)
        good = good and bool(lines) and all(line.ok for line in lines)
        print(f"{case}\n{table(lines)}\n", flush=True)
    print("all stages are within tolerance" if good else "some stages are beyond tolerance")
    return 0 if good else 1


if __name__ == "__main__":
    cli.door(main)
