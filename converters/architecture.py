"""What a pickled EG3D network is: its configuration, read from the attributes of its objects.

The state dict alone does not say how a network renders: ray limits, plane axes, clamps and resolutions are
plain attributes. Each is read where the PyTorch code would use it (a layer's own clamp, the renderer's own
plane axes), not from the constructor's arguments, because files exist in which the two differ.
"""

import dataclasses
import math
import numbers
from typing import Any

import numpy as np

from dnerf_jax.models.generator import GeneratorConfig, RenderingConfig
from dnerf_jax.networks.stylegan2 import NOISE_MODES
from dnerf_jax.networks.superresolution import PRESETS, SuperresolutionConfig

from .pickles import Record

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


class _Problems(list):
    """What is wrong with a network, gathered so that one message can have all of it."""

    def size(self, record: Record, path: str, name: str) -> int:
        """An attribute that is a positive integer; else a problem is noted, and it is 1."""
        value = record.get(name)
        if isinstance(value, numbers.Integral) and value > 0:
            return int(value)
        self.append(f"the attribute {name} of {path} is {value!r}, expected a positive integer")
        return 1

    def number(self, options: dict, name: str, default: float | None = None) -> float:
        """An entry of rendering_kwargs that is a number; else a problem is noted, and it is 1."""
        value = options.get(name, default)
        if isinstance(value, numbers.Real) and math.isfinite(value):
            return float(value)
        self.append(f"rendering_kwargs has {name} = {value!r}, expected a number")
        return 1.0

    def expect(self, what: str, value: Any, *expected: Any) -> None:
        """Notes a problem unless `value` is one of `expected`."""
        if value not in expected:
            self.append(f"{what} is {value!r}, expected {' or '.join(map(repr, expected))}")

    def stop(self) -> None:
        """Raises ValueError with all problems, if there are any."""
        if self:
            raise ValueError("this network is not an EG3D generator that can be converted:\n  " + "\n  ".join(self))


def require_generator(network: Any) -> None:
    """Raises ValueError, saying what it is instead, unless `network` is the record of a tri-plane network."""
    if isinstance(network, Record) and network.class_name == GENERATOR:
        return
    if isinstance(network, Record) and network.class_name == "Generator":
        what = "a plain StyleGAN generator (class Generator), which has no tri-plane renderer"
    elif isinstance(network, Record):
        what = f"of the class {network.class_name}"
    elif isinstance(network, dict) and network and all(isinstance(x, np.ndarray) for x in network.values()):
        what = "a bare state dict, which lacks the configuration (rendering options, plane axes, clamps)"
    else:
        what = f"a {type(network).__name__}"
    raise ValueError(f"the network is {what}; expected EG3D's {GENERATOR}: give the pickle that EG3D's training wrote")


def config_from(network: Record) -> GeneratorConfig:
    """The configuration of a pickled EG3D generator.

    Raises ValueError that lists every attribute that is missing, contradicts another or asks for something
    that EG3D's published architecture does not have.
    """
    require_generator(network)
    problems = _Problems()
    parts = {path: network.child(path) for path in _CLASSES}
    for path, record in parts.items():
        if record is None:
            problems.append(f"there is no module {path}")
        elif _CLASSES[path]:
            problems.expect(f"the class of {path}", record.class_name, _CLASSES[path])
    problems.stop()
    _check_layers(network, problems)

    mapping, synthesis = parts["backbone.mapping"], parts["backbone.synthesis"]
    first, last = parts["decoder.net.0"], parts["decoder.net.2"]
    arguments = synthesis.get("_init_kwargs") or {}
    options = network.get("rendering_kwargs")
    if not isinstance(options, dict):
        problems.append(f"rendering_kwargs are {options!r}, expected a dict")
        options = {}
    problems.expect("the clamp_mode of rendering_kwargs", options.get("clamp_mode"), "softplus")
    channels = problems.size(parts["backbone"], "backbone", "img_channels")
    problems.expect("the remainder of the backbone's channels by three planes", channels % 3, 0)
    rate = float(first.get("bias_gain", 1))
    problems.expect("the learning-rate multiplier of decoder.net.2", last.get("bias_gain", 1), rate)
    config = GeneratorConfig(
        z_dim=problems.size(network, "the network", "z_dim"),
        c_dim=problems.size(network, "the network", "c_dim"),
        w_dim=problems.size(network, "the network", "w_dim"),
        mapping_layers=problems.size(mapping, "backbone.mapping", "num_layers"),
        plane_resolution=problems.size(synthesis, "backbone.synthesis", "img_resolution"),
        plane_channels=channels // 3,
        channel_base=arguments.get("channel_base", 32768),
        channel_max=arguments.get("channel_max", 512),
        conv_clamp=_clamp(synthesis, "backbone.synthesis", problems),
        feature_channels=problems.size(last, "decoder.net.2", "out_features") - 1,
        decoder_hidden=problems.size(first, "decoder.net.0", "out_features"),
        decoder_lr_mul=rate,
        neural_rendering_resolution=problems.size(network, "the network", "neural_rendering_resolution"),
        plane_axes=_plane_axes(parts["renderer"], problems),
        c_scale=problems.number(options, "c_scale", 0),  # as in EG3D: without the key, the camera counts for nothing
        c_gen_conditioning_zero=bool(options.get("c_gen_conditioning_zero", False)),
        superresolution=_superresolution(parts["superresolution"], options, problems),
        rendering=_rendering(options, problems),
    )
    image = problems.size(network, "the network", "img_resolution")
    problems.expect("img_resolution", image, config.superresolution.resolutions[1])
    problems.stop()
    return config


def _check_layers(network: Record, problems: _Problems) -> None:
    for path, record in network.walk():
        expected = dict(_LAYERS.get(record.class_name, {}))
        if path.startswith("backbone.mapping.fc"):
            expected = _MAPPING_LAYERS
        for name, value in expected.items():
            problems.expect(f"{name} of {path}", record.get(name), value)


def _clamp(part: Record, path: str, problems: _Problems) -> float | None:
    """The bound on activations that all layers of a part share."""
    clamps = {
        record.get("conv_clamp") for _, record in part.walk() if record.class_name in ("SynthesisLayer", "ToRGBLayer")
    }
    if len(clamps) != 1 or not isinstance(*clamps, numbers.Real | None):
        problems.append(f"the layers of {path} have the clamps {sorted(map(str, clamps))}, expected one for all")
        return None
    clamp = clamps.pop()
    return None if clamp is None else float(clamp)


def _plane_axes(renderer: Record, problems: _Problems) -> tuple:
    value = renderer.get("plane_axes")
    axes = value.astype(np.float64) if isinstance(value, np.ndarray) else np.zeros(0)
    if axes.shape != (3, 3, 3) or not np.all(np.abs(np.linalg.det(axes)) > 1e-6):
        problems.append(f"the renderer's plane_axes are {value!r}, expected three invertible 3 x 3 matrices")
        return ()
    return tuple(tuple(map(tuple, plane)) for plane in axes.tolist())


def _superresolution(record: Record, options: dict, problems: _Problems) -> SuperresolutionConfig:
    """The variant that the class says, with the sizes and options that its attributes say."""
    preset = PRESETS.get(record.class_name)
    if preset is None:
        problems.expect("the class of superresolution", record.class_name, *PRESETS)
        preset = SuperresolutionConfig()
    blocks = {path: record.child(path) or Record("nothing") for path in ("block0.conv1", "block1.conv1")}
    noise_mode = options.get("superresolution_noise_mode")
    problems.expect("the superresolution_noise_mode of rendering_kwargs", noise_mode, *NOISE_MODES)
    return dataclasses.replace(
        preset,
        input_resolution=problems.size(record, "superresolution", "input_resolution"),
        widths=tuple(problems.size(block, f"superresolution.{path}", "out_channels") for path, block in blocks.items()),
        # The oldest variant has no such attribute, and does not filter: the preset knows.
        antialias=bool(record.get("sr_antialias", preset.antialias)),
        clamp=_clamp(record, "superresolution", problems),
        noise_mode=noise_mode,
    )


def _rendering(options: dict, problems: _Problems) -> RenderingConfig:
    limits = [options.get("ray_start"), options.get("ray_end")]
    if limits != ["auto", "auto"]:
        limits = [problems.number(options, "ray_start"), problems.number(options, "ray_end")]
    samples = Record("dict", options)
    pivot = options.get("avg_camera_pivot", (0, 0, 0))
    if not (isinstance(pivot, list | tuple) and len(pivot) == 3):
        problems.append(f"rendering_kwargs has avg_camera_pivot = {pivot!r}, expected three numbers")
        pivot = (0, 0, 0)
    return RenderingConfig(
        depth_resolution=problems.size(samples, "rendering_kwargs", "depth_resolution"),
        depth_resolution_importance=int(problems.number(options, "depth_resolution_importance")),
        ray_start=limits[0],
        ray_end=limits[1],
        box_warp=problems.number(options, "box_warp"),
        white_back=bool(options.get("white_back", False)),
        disparity_space_sampling=bool(options.get("disparity_space_sampling", False)),
        avg_camera_radius=problems.number(options, "avg_camera_radius", 2.7),
        avg_camera_pivot=tuple(map(float, pivot)),
    )
