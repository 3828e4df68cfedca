"""Recorded EG3D cases: NAME.json says what the network is, NAME.npz has its inputs and outputs.

No weights are stored, since anyone can redraw them: each from a generator seeded by its name. Here a case
becomes the same record that a pickle of that network would be read as, so that it takes the same way through
the converter.
"""

import math
import os
import pathlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dnerf_jax.io import arrays as array_files
from dnerf_jax.io import files

from . import layout
from .attributes import FINE, SAMPLES, Problems
from .records import Record
from .refusals import naming, shown

UNIFORMS_SEED = 3

_CLASS_NAMES = {
    "backbone": "Generator",
    "mapping": "MappingNetwork",
    "synthesis": "SynthesisNetwork",
    "conv0": "SynthesisLayer",
    "conv1": "SynthesisLayer",
    "torgb": "ToRGBLayer",
    "decoder": "OSGDecoder",
    "net": "Sequential",
}
# Tensors that every network has: without them there is nothing to configure.
_NEEDED = (
    *("decoder.net.0.weight", "decoder.net.2.weight", "backbone.mapping.fc0.weight", "superresolution.block0"),
    "backbone.synthesis.b4",
)
_NAME = re.compile(r"(\w{1,100}\.){1,8}\w{1,100}")
_DAMAGED = "it is damaged, or not the JSON of a recorded case"
_TENSORS, _ELEMENTS = 10_000, 1 << 26  # at most, of a network to redraw: EG3D's has some 300, and 30 million


def load_case(path: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """A case's configuration and arrays, given the path of its NAME.json; NAME.npz lies beside it.

    Raises ValueError, always naming the file, if one of them is missing or damaged, or is not what its name says.
    """
    case = read_case(path)
    with naming(path):
        _check(case)
    return case, array_files.load_arrays(arrays_path(path))


def read_case(path: str | os.PathLike) -> dict:
    """A case's configuration as it is in the file. Raises ValueError, naming a file that is missing or no JSON."""
    for file in (pathlib.Path(path), arrays_path(path)):
        if not file.is_file():
            raise ValueError(f"{file} is not a file: a recorded case is a NAME.json with its NAME.npz beside it")
    return files.read_json(path, "the JSON of a recorded case")


def arrays_path(path: str | os.PathLike) -> pathlib.Path:
    """Where a case's arrays are."""
    return pathlib.Path(path).with_suffix(".npz")


def _check(case: Mapping) -> None:
    """Raises ValueError that lists what a case lacks, or has of another kind or size than a network needs."""
    needed = ("parameters", "init_kwargs", "rendering_kwargs", "plane_axes", "neural_rendering_resolution")
    missing = [key for key in needed if key not in case]
    if missing:
        raise ValueError(f"it is not the JSON of a recorded case: it has no {', '.join(missing)}")
    problems = Problems()
    for key in ("parameters", "init_kwargs", "rendering_kwargs"):
        if not isinstance(case[key], dict):
            problems.append(f"{key} are {shown(case[key])}, expected an object")
    problems.stop(_DAMAGED)
    arguments, options = case["init_kwargs"], case["rendering_kwargs"]
    for name in ("z_dim", "c_dim", "w_dim", "img_resolution"):
        problems.size(arguments, name, "init_kwargs")
    problems.size(case, "neural_rendering_resolution", "the case", allowed=SAMPLES)
    problems.size(options, "depth_resolution", "rendering_kwargs", allowed=SAMPLES)
    problems.size(options, "depth_resolution_importance", "rendering_kwargs", allowed=FINE)
    module = options.get("superresolution_module")
    if not isinstance(module, str):
        problems.append(f"superresolution_module of rendering_kwargs is {shown(module)}, expected a class's name")
    axes = case["plane_axes"]
    rows = [row for plane in axes for row in plane if len(plane) == 3] if _is_lists(axes) else []
    for row in rows if len(rows) == 9 else [axes]:
        problems.numbers({"a row": row}, "a row", "plane_axes", (0.0, 0.0, 0.0))
    check_tensors(problems, case["parameters"])
    absent = [name for name in _NEEDED if not any(f"{known}.".startswith(f"{name}.") for known in case["parameters"])]
    problems += [f"parameters have no {name}" for name in absent]
    problems.stop(_DAMAGED)


def check_tensors(problems: Problems, parameters: Mapping) -> None:
    """Notes a problem unless these are names and shapes of tensors, not too large to redraw."""
    if _elements(parameters) > _ELEMENTS:
        problems.append(f"parameters are not at most {_TENSORS} tensors of at most {_ELEMENTS} elements in all")


def _is_lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, list | tuple) for entry in value)


def _elements(parameters: Mapping) -> float:
    """How many numbers the tensors have; infinitely many where one has no name or no shape."""
    if len(parameters) > _TENSORS:
        return math.inf
    for name, shape in parameters.items():
        sizes = isinstance(shape, list | tuple) and len(shape) <= 5 and all(type(size) is int for size in shape)
        if not _NAME.fullmatch(name) or not sizes or not all(0 <= size <= _ELEMENTS for size in shape):
            return math.inf
    return sum(math.prod(shape) for shape in parameters.values())


def redraw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A recorded network's tensor of this name, drawn from a generator that the name seeds."""
    last = name.rsplit(".", 1)[-1]
    if last == "resample_filter":
        return layout.RESAMPLE_FILTER
    bits = np.random.PCG64(zlib.crc32(name.encode()))
    tensor = np.random.Generator(bits).standard_normal(tuple(shape), dtype=np.float32)
    if last in ("bias", "noise_strength", "w_avg"):
        tensor = np.float32(0.1) * tensor
    if last == "bias" and ".affine." in name:
        tensor = tensor + np.float32(1)
    return np.asarray(tensor, np.float32)


def redraw_uniforms(
    batch: int, rays: int, coarse: int, fine: int, *, seed: int = UNIFORMS_SEED
) -> tuple[np.ndarray, np.ndarray]:
    """The renderer's uniform draws: (batch, rays, coarse, 1), then (batch * rays, fine), in [0, 1)."""
    draws = np.random.Generator(np.random.PCG64(seed))
    return draws.random((batch, rays, coarse, 1), np.float32), draws.random((batch * rays, fine), np.float32)


def record_from(case: Mapping) -> Record:
    """A recorded network as the record that reading its pickle would give, weights redrawn."""
    network = _module("TriPlaneGenerator")
    for name, shape in case["parameters"].items():
        *places, last = name.split(".")
        module = network
        for i, place in enumerate(places):
            modules = module.attributes["_modules"]
            if place not in modules:
                modules[place] = _module(_class_name(places[: i + 1], case["rendering_kwargs"]))
            module = modules[place]
        group = "_buffers" if last in ("w_avg", "noise_const", "resample_filter") else "_parameters"
        module.attributes[group][last] = redraw(name, shape)
    _configure(network, case)
    return network


def _module(class_name: str) -> Record:
    return Record(class_name, {"_modules": {}, "_parameters": {}, "_buffers": {}})


def _class_name(places: list[str], options: Mapping) -> str:
    place = places[-1]
    if place == "superresolution":
        return options["superresolution_module"].rsplit(".", 1)[-1]
    if place in ("embed", "affine") or place.startswith("fc") or place.isdigit():
        return "FullyConnectedLayer"
    return _CLASS_NAMES.get(place, "SynthesisBlock")


def _configure(network: Record, case: Mapping) -> None:
    """Gives the modules the attributes that EG3D's constructors would give them."""
    arguments, options = case["init_kwargs"], case["rendering_kwargs"]
    children = network.attributes["_modules"]
    network.attributes |= {name: arguments[name] for name in ("z_dim", "c_dim", "w_dim", "img_resolution")}
    network.attributes["neural_rendering_resolution"] = case["neural_rendering_resolution"]
    network.attributes["rendering_kwargs"] = dict(options)
    children["renderer"] = _module("ImportanceRenderer")
    children["renderer"].attributes["plane_axes"] = np.asarray(case["plane_axes"], np.float32)
    children["renderer"].attributes["_modules"]["ray_marcher"] = _module("MipRayMarcher2")
    children["decoder"].child("net").attributes["_modules"]["1"] = _module("Softplus")

    backbone_clamp = arguments.get("conv_clamp", 256 if arguments.get("num_fp16_res", 0) else None)
    superresolution_clamp = 256 if arguments.get("sr_num_fp16_res", 0) else None
    for path, module in network.walk():
        weight = module.attributes["_parameters"].get("weight")
        width = weight.shape[0] if weight is not None and weight.ndim else None
        if module.class_name == "FullyConnectedLayer":
            rate = options.get("decoder_lr_mul", 1) if path.startswith("decoder") else 1
            rate = 0.01 if path.startswith("backbone.mapping.fc") else rate
            activation = "lrelu" if path.startswith("backbone.mapping.fc") else "linear"
            module.attributes |= {"out_features": width, "bias_gain": rate, "activation": activation}
        elif module.class_name in ("SynthesisLayer", "ToRGBLayer"):
            clamp = backbone_clamp if path.startswith("backbone") else superresolution_clamp
            module.attributes |= {"out_channels": width, "conv_clamp": clamp}
            if module.class_name == "SynthesisLayer":
                module.attributes |= {"activation": "lrelu", "use_noise": True}
        elif module.class_name == "SynthesisBlock":
            module.attributes["architecture"] = "skip"

    synthesis, mapping = network.child("backbone.synthesis"), network.child("backbone.mapping")
    size = max(int(name[1:]) for name in synthesis.attributes["_modules"] if re.fullmatch(r"b\d+", name, re.ASCII))
    synthesis.attributes["img_resolution"] = size
    last = synthesis.child(f"b{size}.torgb") or Record()
    network.child("backbone").attributes["img_channels"] = last.get("out_channels")
    mapping.attributes["num_layers"] = sum(name.startswith("fc") for name in mapping.attributes["_modules"])
    superresolution = children["superresolution"]
    small = superresolution.class_name == "SuperresolutionHybrid2X"
    superresolution.attributes["input_resolution"] = 64 if small else 128
    if superresolution.class_name != "SuperresolutionHybridDeepfp32":  # which has no such attribute
        superresolution.attributes["sr_antialias"] = options.get("sr_antialias")
