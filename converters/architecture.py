"""What a pickled EG3D network is: its configuration, read from the attributes of its objects.

The state dict alone does not say how a network renders: ray limits, plane axes, clamps and resolutions are
plain attributes. Each is read where the PyTorch code would use it (a layer's own clamp, the renderer's own
plane axes), not from the constructor's arguments, because files exist in which the two differ.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dnerf_jax.models.generator import GeneratorConfig, RenderingConfig
from dnerf_jax.networks.stylegan2 import NOISE_MODES, block_resolutions
from dnerf_jax.networks.superresolution import PRESETS, SuperresolutionConfig
from dnerf_jax.ops import cameras

from .attributes import FINE, LAYERS, POSITIVE, SAMPLES, Problems
from .records import Record
from .refusals import shown

GENERATOR = "TriPlaneGenerator"

_CLASSES = {
    "renderer": "ImportanceRenderer",
    "renderer.ray_marcher": "MipRayMarcher2",
    "backbone": "Generator",
    "backbone.mapping": "MappingNetwork",
    "backbone.synthesis": "SynthesisNetwork",
    "superresolution": None,
    "superresolution.block0": None,
    "superresolution.block1": None,
    "decoder": "OSGDecoder",
    "decoder.net": "Sequential",
    "decoder.net.0": "FullyConnectedLayer",
    "decoder.net.1": "Softplus",
    "decoder.net.2": "FullyConnectedLayer",
}
# What the layers of every EG3D have in common, and what our modules are written for.
_LAYERS = {
    "SynthesisLayer": {"activation": "lrelu", "use_noise": True},
    "SynthesisBlock": {"architecture": "skip"},
    "SynthesisBlockNoUp": {"architecture": "skip"},
}
_MAPPING_LAYERS = {"activation": "lrelu", "bias_gain": 0.01}
_OPTIONS = "rendering_kwargs"
_MISFIT = "this network is not an EG3D generator that can be converted"


def require_generator(network: Any) -> None:
    """Raises ValueError, saying what it is instead, unless `network` is the record of a tri-plane network."""
    if isinstance(network, Record) and network.class_name == GENERATOR:
        return
    if isinstance(network, Record) and network.class_name == "Generator":
        what = "a plain StyleGAN generator (class Generator), which has no tri-plane renderer"
    elif isinstance(network, Record):
        what = f"of the class {shown(network.class_name)}"
    elif is_state_dict(network):
        what = "a bare state dict, which lacks the configuration (rendering options, plane axes, clamps)"
    else:
        what = shown(network)
    raise ValueError(f"the network is {what}; expected EG3D's {GENERATOR}: give the pickle that EG3D's training wrote")


def is_state_dict(content: Any) -> bool:
    """Whether this is a dict of tensors alone."""
    return isinstance(content, dict) and bool(content) and all(isinstance(x, np.ndarray) for x in content.values())


def config_from(
    network: Record, *, focal: float = cameras.FOCAL, presets: Mapping[str, SuperresolutionConfig] = PRESETS
) -> GeneratorConfig:
    """The configuration of a pickled EG3D generator.

    focal: of its default cameras, in image sizes, which no attribute says.
    presets: the variants of super-resolution, by the names of their classes.

    Raises ValueError that lists every attribute that is missing, contradicts another or asks for something
    that EG3D's published architecture does not have.
    """
    require_generator(network)
    problems = Problems()
    parts = {path: network.child(path) for path in _CLASSES}
    for path, record in parts.items():
        if record is None:
            problems.append(f"there is no module {path}")
        elif _CLASSES[path]:
            problems.expect(f"the class of {path}", record.class_name, _CLASSES[path])
    problems.stop(_MISFIT)
    _check_layers(network, problems)

    mapping, synthesis = parts["backbone.mapping"], parts["backbone.synthesis"]
    first, last = parts["decoder.net.0"].attributes, parts["decoder.net.2"].attributes
    options = network.get("rendering_kwargs")
    if not isinstance(options, dict):
        problems.append(f"rendering_kwargs are {shown(options)}, expected a dict")
        options = {}
    problems.expect("the clamp_mode of rendering_kwargs", options.get("clamp_mode"), "softplus")
    channels = problems.size(parts["backbone"].attributes, "img_channels", "backbone")
    problems.expect("the remainder of the backbone's channels by three planes", channels % 3, 0)
    outputs = problems.size(last, "out_features", "decoder.net.2")
    problems.expect("whether out_features of decoder.net.2 has density and colour", outputs >= 4, True)
    rate = problems.number(first, "bias_gain", "decoder.net.0", 1, allowed=POSITIVE)
    problems.expect("the learning-rate multiplier of decoder.net.2", last.get("bias_gain", 1), rate)
    own = network.attributes
    widths = _widths(synthesis, problems)
    config = GeneratorConfig(
        z_dim=problems.size(own, "z_dim", "the network"),
        c_dim=problems.size(own, "c_dim", "the network"),
        w_dim=problems.size(own, "w_dim", "the network"),
        mapping_layers=problems.size(mapping.attributes, "num_layers", "backbone.mapping", allowed=LAYERS),
        plane_resolution=max(widths),
        plane_channels=channels // 3,
        channel_base=max(resolution * width for resolution, width in widths.items()),
        channel_max=max(widths.values()),
        conv_clamp=_clamp(synthesis, "backbone.synthesis", problems),
        feature_channels=outputs - 1,
        decoder_hidden=problems.size(first, "out_features", "decoder.net.0"),
        decoder_lr_mul=rate,
        neural_rendering_resolution=problems.size(own, "neural_rendering_resolution", "the network"),
        plane_axes=_plane_axes(parts["renderer"], problems),
        # As in EG3D: without the scale, the camera counts for nothing.
        c_scale=problems.number(options, "c_scale", _OPTIONS, 0),
        c_gen_conditioning_zero=problems.switch(options, "c_gen_conditioning_zero", _OPTIONS),
        superresolution=_superresolution(parts["superresolution"], options, presets, problems),
        rendering=_rendering(options, focal, problems),
    )
    image = problems.size(own, "img_resolution", "the network")
    problems.expect("img_resolution of the network", image, config.superresolution.resolutions[1])
    problems.stop(_MISFIT)
    return config


def _check_layers(network: Record, problems: Problems) -> None:
    for path, record in network.walk():
        expected = dict(_LAYERS.get(record.class_name, {}))
        if path.startswith("backbone.mapping.fc"):
            expected = _MAPPING_LAYERS
        for name, value in expected.items():
            problems.expect(f"{name} of {path}", record.get(name), value)


def _widths(synthesis: Record, problems: Problems) -> dict[int, int]:
    """The channels of every block of the backbone, by its resolution."""
    size = problems.size(synthesis.attributes, "img_resolution", "backbone.synthesis")
    resolutions = block_resolutions(size)
    if not resolutions or resolutions[-1] != size:
        problems.append(f"img_resolution of backbone.synthesis is {size}, expected a power of two from 4 on")
        return {4: 1}
    blocks = {resolution: f"b{resolution}.conv1" for resolution in resolutions}
    convolutions = {resolution: synthesis.child(path) or Record() for resolution, path in blocks.items()}
    return {
        resolution: problems.size(record.attributes, "out_channels", f"backbone.synthesis.{blocks[resolution]}")
        for resolution, record in convolutions.items()
    }


def _clamp(part: Record, path: str, problems: Problems) -> float | None:
    """The bound on activations that all layers of a part share."""
    layers = [record for _, record in part.walk() if record.class_name in ("SynthesisLayer", "ToRGBLayer")]
    clamps = {None if record.get("conv_clamp") is None else _bound(record, path, problems) for record in layers}
    if len(clamps) != 1:
        names = sorted(map(str, clamps))
        problems.append(f"the layers of {path} have the clamps {names}, expected one for all")
        return None
    return clamps.pop()


def _bound(layer: Record, path: str, problems: Problems) -> float:
    return problems.number(layer.attributes, "conv_clamp", f"a layer of {path}", allowed=POSITIVE)


def _plane_axes(renderer: Record, problems: Problems) -> tuple:
    value = renderer.get("plane_axes")
    axes = np.zeros(0)
    if isinstance(value, np.ndarray) and value.shape == (3, 3, 3) and value.dtype.kind in "iuf":
        axes = value.astype(np.float64)
    if axes.shape != (3, 3, 3) or not np.isfinite(axes).all() or not (np.abs(np.linalg.det(axes)) > 1e-6).all():
        problems.append(f"the renderer's plane_axes are {shown(value)}, expected three invertible 3 x 3 matrices")
        return ()
    return tuple(tuple(map(tuple, plane)) for plane in axes.tolist())


def _superresolution(
    record: Record, options: dict, presets: Mapping[str, SuperresolutionConfig], problems: Problems
) -> SuperresolutionConfig:
    """The variant that the class says, with the sizes and options that its attributes say."""
    preset = presets.get(record.class_name)
    if preset is None:
        problems.expect("the class of superresolution", record.class_name, *presets)
        preset = SuperresolutionConfig()
    blocks = {path: record.child(path) or Record() for path in ("block0.conv1", "block1.conv1")}
    noise_mode = options.get("superresolution_noise_mode")
    problems.expect("the superresolution_noise_mode of rendering_kwargs", noise_mode, *NOISE_MODES)
    return dataclasses.replace(
        preset,
        input_resolution=problems.size(record.attributes, "input_resolution", "superresolution"),
        widths=tuple(
            problems.size(block.attributes, "out_channels", f"superresolution.{path}") for path, block in blocks.items()
        ),
        # The oldest variant has no such attribute, and does not filter: the preset knows.
        antialias=problems.switch(record.attributes, "sr_antialias", "superresolution", preset.antialias),
        clamp=_clamp(record, "superresolution", problems),
        noise_mode=noise_mode,
    )


def _rendering(options: dict, focal: float, problems: Problems) -> RenderingConfig:
    automatic = [isinstance(options.get(name), str) and options[name] == "auto" for name in ("ray_start", "ray_end")]
    start, end = ("auto", "auto") if all(automatic) else _limits(options, problems)
    return RenderingConfig(
        depth_resolution=problems.size(options, "depth_resolution", _OPTIONS, allowed=SAMPLES),
        depth_resolution_importance=problems.size(options, "depth_resolution_importance", _OPTIONS, allowed=FINE),
        ray_start=start,
        ray_end=end,
        box_warp=problems.number(options, "box_warp", _OPTIONS, allowed=POSITIVE),
        white_back=problems.switch(options, "white_back", _OPTIONS),
        disparity_space_sampling=problems.switch(options, "disparity_space_sampling", _OPTIONS),
        avg_camera_radius=problems.number(options, "avg_camera_radius", _OPTIONS, 2.7, allowed=POSITIVE),
        avg_camera_pivot=problems.numbers(options, "avg_camera_pivot", _OPTIONS, (0.0, 0.0, 0.0)),
        avg_camera_focal=focal,
    )


def _limits(options: dict, problems: Problems) -> tuple[float, float]:
    """Where rays begin and end, as distances; plain ones where a problem is noted."""
    before = len(problems)
    start, end = (problems.number(options, name, _OPTIONS, allowed=POSITIVE) for name in ("ray_start", "ray_end"))
    if start >= end and len(problems) == before:
        problems.append(f"ray_start of {_OPTIONS} is {start}, and ray_end {end}, expected more than that")
    return (start, end) if start < end else (1.0, 2.0)
