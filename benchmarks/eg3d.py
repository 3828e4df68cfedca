"""EG3D's stages, ours and PyTorch's: python -m benchmarks.eg3d [--eg3d PATH] [--size 512-128] [--json FILE]

Random weights at full size, one image, float32 on a CPU. PATH is a checkout of the public PyTorch EG3D (and `torch`
is installed): then both are timed in turn, with as many threads. "labelled view" is image, mask, depth and points with
a semantic branch, from the latent on; "4 labelled views" are of one latent.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.models import generator, marching, scenes, semantic
from dnerf_jax.models.generator import Generator, GeneratorConfig, RenderingConfig
from dnerf_jax.models.model import Model
from dnerf_jax.models.semantic import SemanticConfig
from dnerf_jax.networks.superresolution import PRESETS
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process

RENDERING = RenderingConfig(avg_camera_pivot=(0.0, 0.0, 0.2))
# By image and neural rendering resolution, as the published models are called: EG3D's class, and the backbone's widths.
SIZES = {
    "512-128": ("SuperresolutionHybrid8XDC", 128, 32768),
    "512-64": ("SuperresolutionHybrid8X", 64, 32768),
    "128-64": ("SuperresolutionHybrid2X", 64, 32768),
}
SEMANTIC = SemanticConfig(num_classes=19, samples_kept=8)
COLUMNS = {
    "stage": "stage",
    "median_s": "ours, s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "gflop": "GFLOP",
    "of_peak": "of the peak",
    "peak_mib": "memory added, MiB",
    "eg3d_s": "EG3D, s",
    "eg3d_min_s": "least",
    "eg3d_peak_mib": "memory added, MiB",
    "ratio": "EG3D / ours",
}


def main(
    eg3d: str = "", size: str = "512-128", json: str = "", repeats: Count = 5, dtype: str = "float32"
) -> dict[str, Any]:
    """Times every stage of EG3D.

    eg3d: checkout of the public PyTorch EG3D to compare with
    size: 512-128, 512-64 or 128-64: the sides of image and neural rendering
    json: file for the numbers
    repeats: timed calls of every stage
    dtype: of our convolutions, float32, bfloat16 or float16
    """
    if size not in SIZES:
        raise ValueError(f"--size is {size!r}: there are {', '.join(SIZES)}.")
    measure.require_dtype(dtype)
    if eg3d and not (Path(eg3d) / "eg3d" / "training" / "triplane.py").exists():
        raise ValueError(f"--eg3d is {eg3d!r}: expected a checkout of the public EG3D, with eg3d/training/triplane.py.")
    process.prepare()
    name, neural, base = SIZES[size]
    config = GeneratorConfig(
        channel_base=base,
        neural_rendering_resolution=neural,
        superresolution=PRESETS[name],
        rendering=RENDERING,
        dtype=dtype,
    )
    ours = our_stages(config)
    theirs = their_stages(Path(eg3d) / "eg3d", config, name) if eg3d else {}
    return run(ours, theirs, {"size": size, "dtype": dtype, "batch": 1, "repeats": repeats}, repeats, json)


def run(
    ours: dict[str, tuple[Any, ...]],
    theirs: dict[str, Callable[[], Any]],
    sizes: dict[str, Any],
    repeats: int,
    path: str,
) -> dict[str, Any]:
    """Times stages in turn, prints and writes them; ours are {stage: (call, what it calls, arguments)}."""
    rows = []
    for stage, (function, *counted) in ours.items():
        functions = {"ours": function}
        # Ours of labelled views is compared with their images: labels are what they lack.
        other = {"labelled view": "image", "4 labelled views": "image"}.get(stage, stage)
        if other in theirs:
            functions["theirs"] = theirs[other]
        timed = measure.take_turns(functions, repeats)
        row = {"stage": stage} | timed["ours"] | measure.costs(*counted)
        row["peak_mib"] = measure.peak_mib(function)
        if other in theirs:
            row |= {"eg3d_s": timed["theirs"]["median_s"], "eg3d_min_s": timed["theirs"]["min_s"]}
            row["eg3d_peak_mib"] = measure.peak_mib(theirs[other])
            views = 4 if stage.startswith("4") else 1
            row["ratio"] = views * row["eg3d_s"] / row["median_s"]
        rows.append(row)
        print(f"{stage}: {row['median_s']:.3f} s", f"EG3D {row['eg3d_s']:.3f} s" if "eg3d_s" in row else "", flush=True)
    machine = measure.machine()
    for row in rows:
        row["of_peak"] = row["gflop"] / row["median_s"] / machine["peak_gflops"]
    return measure.report("benchmarks.eg3d", sizes, rows, COLUMNS, path, on=machine)


def our_stages(config: GeneratorConfig) -> dict[str, tuple[Any, ...]]:
    """Our stages, on random weights."""
    made = generator.init(config, jax.random.key(0))
    plain = Model(made)
    labelled = plain.replace(semantic=semantic.init(SEMANTIC, config, jax.random.key(1)))
    z = jax.random.normal(jax.random.key(2), (config.z_dim,))
    c = cameras.to_eg3d(scenes.default_camera(config))
    camera = scenes.default_camera(config, yaw=0.3)
    around = scenes.default_camera(config, yaw=jnp.array([-0.3, -0.1, 0.1, 0.3]))
    rows = {views: process.rows_at_once(labelled, views=views) for views in (1, 4)}

    @jax.jit
    def mapping(made: Generator, z: jax.Array) -> jax.Array:
        return generator.map_latents(made, z, c)

    @jax.jit
    def backbone(made: Generator, ws: jax.Array) -> jax.Array:
        return generator.to_planes(config, generator.synthesize_blocks(made, ws))

    @jax.jit
    def rendering(made: Generator, planes: jax.Array, camera: Camera) -> tuple[jax.Array, jax.Array]:
        samples = marching.march(made, planes, cameras.rays(camera, config.neural_rendering_resolution))
        return marching.feature_image(config, samples), samples.distance

    def render(model: Model, z: jax.Array, camera: Camera) -> scenes.View:
        views = len(camera) if camera.batch_shape else 1
        return scenes.render(model, scenes.synthesize(model, z), camera, rows_at_once=rows[views])

    @jax.jit
    def image(model: Model, z: jax.Array, camera: Camera) -> jax.Array:
        return render(model, z, camera).image

    @jax.jit
    def label(model: Model, z: jax.Array, camera: Camera) -> tuple[jax.Array, ...]:
        view = render(model, z, camera)
        return view.image, view.mask, view.depth_z, view.points

    finish = jax.jit(generator.super_resolve)
    ws = mapping(made, z)
    planes = backbone(made, ws)
    features, _ = rendering(made, planes, camera)

    def stage(function: Any, *arguments: Any) -> tuple[Any, ...]:
        return (lambda: function(*arguments)), function, *arguments

    return {
        "mapping": stage(mapping, made, z),
        "backbone": stage(backbone, made, ws),
        "rendering": stage(rendering, made, planes, camera),
        "super-resolution": stage(finish, made, features, ws),
        "image": stage(image, plain, z, camera),
        "labelled view": stage(label, labelled, z, camera),
        "4 labelled views": stage(label, labelled, z, around),
    }


def their_stages(path: Path, config: GeneratorConfig, superresolution: str) -> dict[str, Callable[[], Any]]:
    """The same stages of the public PyTorch EG3D, on random weights; it runs as it is."""
    sys.path.insert(0, str(path.absolute()))
    try:
        import torch
        from training.triplane import TriPlaneGenerator
    except ModuleNotFoundError as error:
        raise ValueError(f"--eg3d needs PyTorch and what the checkout imports: pip install {error.name}") from None

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_grad_enabled(False)
    options = dataclasses.asdict(config.rendering)
    options |= {
        "superresolution_module": f"training.superresolution.{superresolution}",
        "clamp_mode": "softplus",
        "c_gen_conditioning_zero": False,
        "c_scale": 1,
        "decoder_lr_mul": 1,
        "sr_antialias": True,
        "superresolution_noise_mode": "none",
    }
    network = TriPlaneGenerator(
        config.z_dim, config.c_dim, config.w_dim, config.image_resolution, 3, sr_num_fp16_res=4,
        mapping_kwargs={"num_layers": config.mapping_layers}, rendering_kwargs=options,
        sr_kwargs={"channel_base": config.channel_base, "channel_max": config.channel_max},
        channel_base=config.channel_base, channel_max=config.channel_max, num_fp16_res=0, conv_clamp=None,
    ).eval().to(device)  # fmt: skip
    side = network.neural_rendering_resolution = config.neural_rendering_resolution

    def to_torch(x: Any) -> Any:
        return torch.from_numpy(np.array(x)).to(device)

    z = to_torch(jax.random.normal(jax.random.key(2), (1, config.z_dim)))
    c = to_torch(cameras.to_eg3d(scenes.default_camera(config, yaw=0.3))[None])
    ws = network.mapping(z, c)
    planes = network.backbone.synthesis(ws, noise_mode="const")
    planes = planes.view(len(planes), 3, config.plane_channels, *planes.shape[-2:])
    rays = network.ray_sampler(c[:, :16].view(-1, 4, 4), c[:, 16:25].view(-1, 3, 3), side)
    found = network.renderer(planes, network.decoder, *rays, network.rendering_kwargs)[0]
    features = found.permute(0, 2, 1).reshape(1, -1, side, side).contiguous()

    def waited(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            result = function()
            if device == "cuda":
                torch.cuda.synchronize()
            del result  # jax.block_until_ready should not see tensors

        return call

    stages = {
        "mapping": lambda: network.mapping(z, c),
        "backbone": lambda: network.backbone.synthesis(ws, noise_mode="const"),
        "rendering": lambda: network.renderer(planes, network.decoder, *rays, network.rendering_kwargs),
        "super-resolution": lambda: network.superresolution(features[:, :3], features, ws, noise_mode="none"),
        "image": lambda: network(z, c, noise_mode="const"),
    }
    for function in stages.values():
        function()  # what it loads or builds the first time is not ours to time
    return {name: waited(function) for name, function in stages.items()}


if __name__ == "__main__":
    cli.door(main)
