"""What a pickled EG3D network is: its configuration, read from the attributes of its objects.

The state dict alone does not say how a network renders: ray limits, plane axes, clamps and resolutions are plain
attributes. Each is read where the PyTorch code would use it (a layer's own clamp, the renderer's own plane axes), not
from the constructor's arguments, because files exist in which the two differ.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from converters.pickles import Record
from dnerf_jax.generator import GeneratorConfig, RenderingConfig
from dnerf_jax.networks import superresolution

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

    def attribute(self, record: Record, path: str, name: str):
        """Return an attribute, or None with a problem noted."""
        if name not in record.attributes:
            self.append(f"{path or 'the network'} has no attribute {name}")
        return record.get(name)

    def option(self, options: dict, name: str):
        """Return an entry of rendering_kwargs, or None with a problem noted."""
        if name not in options:
            self.append(f"rendering_kwargs has no {name}")
        return options.get(name)

    def expect(self, what: str, value, *expected):
        """Note a problem unless `value` is one of `expected`."""
        if value not in expected:
            self.append(f"{what} is {value!r}, expected {' or '.join(map(repr, expected))}")

    def stop(self):
        """Raise ValueError with all problems, if there are any."""
        if self:
            raise ValueError(
                "this network is not an EG3D generator that can be converted:\n  " + "\n  ".join(self)
            )


def require_generator(network) -> None:
    """Raise ValueError, saying what it is instead, unless `network` is the record of a tri-plane generator."""
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
    """Return the configuration of a pickled EG3D generator.

    Raises ValueError that lists every attribute that is missing, contradicts another or asks for something that EG3D's
    published architecture does not have.
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

    backbone, mapping, synthesis = (parts[f"backbone{name}"] for name in ("", ".mapping", ".synthesis"))
    first, last = parts["decoder.net.0"], parts["decoder.net.2"]
    options = problems.attribute(network, "", "rendering_kwargs")
    if not isinstance(options, dict):
        problems.append("rendering_kwargs are not a dict")
        options = {}
    arguments = synthesis.get("_init_kwargs") or {}
    outputs = problems.attribute(last, "decoder.net.2", "out_features")
    image_channels = problems.attribute(backbone, "backbone", "img_channels")
    values = dict(
        z_dim=problems.attribute(network, "", "z_dim"),
        c_dim=problems.attribute(network, "", "c_dim"),
        w_dim=problems.attribute(network, "", "w_dim"),
        mapping_layers=problems.attribute(mapping, "backbone.mapping", "num_layers"),
        plane_resolution=problems.attribute(synthesis, "backbone.synthesis", "img_resolution"),
        channel_base=arguments.get("channel_base", 32768),
        channel_max=arguments.get("channel_max", 512),
        conv_clamp=_clamp(synthesis, "backbone.synthesis", problems),
        decoder_hidden=problems.attribute(first, "decoder.net.0", "out_features"),
        decoder_lr_mul=problems.attribute(first, "decoder.net.0", "bias_gain"),
        neural_rendering_resolution=problems.attribute(network, "", "neural_rendering_resolution"),
        plane_axes=_plane_axes(parts["renderer"], problems),
        c_scale=options.get("c_scale", 0),  # EG3D's own default: without the key, the camera counts for nothing
        c_gen_conditioning_zero=bool(problems.option(options, "c_gen_conditioning_zero")),
        superresolution=_superresolution(parts["superresolution"], options, problems),
        rendering=_rendering(options, problems),
    )
    problems.expect("the decoder's second learning-rate multiplier", last.get("bias_gain"), values["decoder_lr_mul"])
    image_resolution = problems.attribute(network, "", "img_resolution")
    problems.stop()
    rendered = values["superresolution"].resolutions[1]
    problems.expect("img_resolution (by the super-resolution's class)", image_resolution, rendered)
    if image_channels % 3:
        problems.append(f"the backbone has {image_channels} image channels, expected three planes of equal depth")
    problems.stop()
    floats = ("conv_clamp", "decoder_lr_mul", "c_scale")
    values |= {name: float(values[name]) for name in floats if values[name] is not None}
    return GeneratorConfig(plane_channels=image_channels // 3, feature_channels=outputs - 1, **values)


def _check_layers(network: Record, problems: _Problems) -> None:
    for path, record in network.walk():
        expected = dict(_LAYERS.get(record.class_name, {}))
        if path.startswith("backbone.mapping.fc"):
            expected = _MAPPING_LAYERS
        for name, value in expected.items():
            problems.expect(f"{name} of {path}", record.get(name), value)


def _clamp(part: Record, path: str, problems: _Problems) -> float | None:
    """Return the bound on activations that all layers of a part share."""
    clamps = {
        record.get("conv_clamp") for _, record in part.walk() if record.class_name in ("SynthesisLayer", "ToRGBLayer")
    }
    if len(clamps) != 1:
        problems.append(f"the layers of {path} have the clamps {sorted(map(str, clamps))}, expected one for all")
        return None
    return clamps.pop()


def _plane_axes(renderer: Record, problems: _Problems) -> tuple:
    axes = np.asarray(problems.attribute(renderer, "renderer", "plane_axes"), np.float64)
    if axes.shape != (3, 3, 3) or np.any(np.abs(np.linalg.det(axes)) < 1e-6):
        problems.append(f"plane_axes are {axes.tolist()}, expected three invertible 3 x 3 matrices")
        return ()
    return tuple(tuple(map(tuple, plane)) for plane in axes.tolist())


def _superresolution(record: Record, options: dict, problems: _Problems):
    """Return the variant that the class says, with the sizes and options that its attributes say."""
    preset = superresolution.PRESETS.get(record.class_name)
    if preset is None:
        problems.expect("the class of superresolution", record.class_name, *superresolution.PRESETS)
        return None
    blocks = [record.child(f"block{i}.conv1") for i in range(2)]
    if None in blocks:
        problems.append("the super-resolution's blocks have no conv1")
        return None
    clamp = _clamp(record, "superresolution", problems)
    noise_mode = problems.option(options, "superresolution_noise_mode")
    problems.expect("superresolution_noise_mode", noise_mode, "none", "const", "random")
    return dataclasses.replace(
        preset,
        input_resolution=problems.attribute(record, "superresolution", "input_resolution"),
        widths=tuple(problems.attribute(block, "superresolution", "out_channels") for block in blocks),
        # The oldest variant has no such attribute, and does not filter: the preset knows.
        antialias=bool(record.get("sr_antialias", preset.antialias)),
        clamp=None if clamp is None else float(clamp),
        noise_mode=noise_mode,
    )


def _rendering(options: dict, problems: _Problems) -> RenderingConfig:
    problems.expect("clamp_mode", problems.option(options, "clamp_mode"), "softplus")
    limits = [problems.option(options, name) for name in ("ray_start", "ray_end")]
    if "auto" in limits and limits != ["auto", "auto"]:
        problems.append(f"ray_start and ray_end are {limits}, expected two numbers or twice 'auto'")
    names = ("depth_resolution", "depth_resolution_importance")
    return RenderingConfig(
        **{name: problems.option(options, name) for name in names},
        ray_start=_number(limits[0]),
        ray_end=_number(limits[1]),
        box_warp=_number(problems.option(options, "box_warp")),
        white_back=bool(options.get("white_back", False)),
        disparity_space_sampling=bool(problems.option(options, "disparity_space_sampling")),
        avg_camera_radius=float(options.get("avg_camera_radius", 2.7)),
        avg_camera_pivot=_triple(options.get("avg_camera_pivot", (0, 0, 0))),
    )


def _number(value):
    return float(value) if isinstance(value, int | float) else value


def _triple(values: Sequence) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
