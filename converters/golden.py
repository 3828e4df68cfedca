"""Recorded EG3D cases: NAME.json says what the network is, NAME.npz has its inputs and outputs.

No weights are stored, since anyone can redraw them: each from a generator seeded by its name. Here a case becomes the
same record that a pickle of that network would be read as, so that it takes the same way through the converter.
"""

import json
import os
import pathlib
import zlib
from collections.abc import Mapping

import numpy as np

from converters import layout
from converters.pickles import Record

UNIFORMS_SEED = 3

_LINEAR, _BLOCK, _LAYER, _TO_RGB = "FullyConnectedLayer", "SynthesisBlock", "SynthesisLayer", "ToRGBLayer"
_CLASS_NAMES = {
    **{"": "TriPlaneGenerator", "backbone": "Generator", "mapping": "MappingNetwork", "synthesis": "SynthesisNetwork"},
    **{"decoder": "OSGDecoder", "net": "Sequential", "embed": _LINEAR, "affine": _LINEAR, "torgb": _TO_RGB},
    **{"conv0": _LAYER, "conv1": _LAYER},
}
_FIXED = {
    _BLOCK: {"architecture": "skip"},
    _LAYER: {"activation": "lrelu", "use_noise": True},
}


def load_case(path: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """Return a case's configuration and arrays, given the path of its JSON; the arrays lie beside it as NAME.npz.

    Raises ValueError if one of the files is missing or is not what its name says.
    """
    path = pathlib.Path(path)
    arrays = path.with_suffix(".npz")
    for file in (path, arrays):
        if not file.is_file():
            raise ValueError(f"{file} is not a file: a recorded case is a NAME.json with its NAME.npz beside it")
    try:
        case = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not the JSON of a recorded case: {error}") from None
    needed = ("parameters", "init_kwargs", "rendering_kwargs", "plane_axes", "neural_rendering_resolution")
    missing = [key for key in needed if not isinstance(case, dict) or key not in case]
    if missing:
        raise ValueError(f"{path} is not the JSON of a recorded case: it has no {', '.join(missing)}")
    with np.load(arrays) as file:
        return case, {name: file[name] for name in file.files}


def redraw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the tensor that a recorded network has under this name, drawn from a generator seeded by the name."""
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


def redraw_uniforms(batch: int, rays: int, coarse: int, fine: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the renderer's uniform draws: (batch, rays, coarse, 1), then (batch * rays, fine), in [0, 1)."""
    draws = np.random.Generator(np.random.PCG64(UNIFORMS_SEED))
    return draws.random((batch, rays, coarse, 1), np.float32), draws.random((batch * rays, fine), np.float32)


def record_from(case: Mapping) -> Record:
    """Return a recorded network as the record that reading its pickle would give, weights redrawn."""
    arguments, options = case["init_kwargs"], case["rendering_kwargs"]
    tensors = {name: redraw(name, shape) for name, shape in case["parameters"].items()}
    clamps = {
        "backbone": arguments.get("conv_clamp", 256 if arguments.get("num_fp16_res", 0) else None),
        "superresolution": 256 if arguments.get("sr_num_fp16_res", 0) else None,
    }
    superresolution = options["superresolution_module"].rsplit(".", 1)[-1]
    network = _module(_CLASS_NAMES[""])
    for name, tensor in tensors.items():
        *places, last = name.split(".")
        module = network
        for i, place in enumerate(places):
            modules = module.attributes["_modules"]
            class_name = superresolution if place == "superresolution" else _CLASS_NAMES.get(place, _BLOCK)
            if place.isdigit() or place.startswith("fc"):
                class_name = _LINEAR
            if place not in modules:
                modules[place] = _module(class_name)
            module = modules[place]
            if class_name in (_LAYER, _TO_RGB):
                module.attributes["conv_clamp"] = clamps[places[0]]
            if place == "conv1" or class_name == _LINEAR:
                weight = tensors.get(".".join([*places[: i + 1], "weight"]))
                module.attributes["out_channels" if place == "conv1" else "out_features"] = weight.shape[0]
        group = "_buffers" if last in ("w_avg", "noise_const", "resample_filter") else "_parameters"
        module.attributes[group][last] = tensor
    _configure(network, case, superresolution)
    return network


def _module(class_name: str) -> Record:
    return Record(class_name, {"_modules": {}, "_parameters": {}, "_buffers": {}, **_FIXED.get(class_name, {})})


def _configure(network: Record, case: Mapping, superresolution: str) -> None:
    """Give the modules the attributes that EG3D's constructors would give them."""
    arguments, options = case["init_kwargs"], case["rendering_kwargs"]
    names = ("z_dim", "c_dim", "w_dim", "img_resolution")
    network.attributes |= {name: arguments[name] for name in names}
    network.attributes["rendering_kwargs"] = dict(options)
    network.attributes["neural_rendering_resolution"] = case["neural_rendering_resolution"]
    renderer = _module("ImportanceRenderer")
    renderer.attributes["plane_axes"] = np.asarray(case["plane_axes"], np.float32)
    renderer.attributes["_modules"]["ray_marcher"] = _module("MipRayMarcher2")
    network.attributes["_modules"]["renderer"] = renderer

    synthesis = network.child("backbone.synthesis")
    blocks = {int(name[1:]): block for name, block in synthesis.attributes["_modules"].items()}
    synthesis.attributes["img_resolution"] = max(blocks)
    widths = {name: arguments[name] for name in ("channel_base", "channel_max") if name in arguments}
    synthesis.attributes["_init_kwargs"] = widths
    torgb = blocks[max(blocks)].child("torgb")
    network.child("backbone").attributes["img_channels"] = len(torgb.attributes["_parameters"]["bias"])

    mapping = network.child("backbone.mapping")
    layers = [module for name, module in mapping.attributes["_modules"].items() if name.startswith("fc")]
    mapping.attributes["num_layers"] = len(layers)
    for layer in layers:
        layer.attributes |= {"activation": "lrelu", "bias_gain": 0.01}
    net = network.child("decoder.net")
    net.attributes["_modules"]["1"] = _module("Softplus")
    for i in ("0", "2"):
        net.child(i).attributes["bias_gain"] = options.get("decoder_lr_mul", 1)

    record = network.child("superresolution")
    record.attributes["input_resolution"] = 64 if superresolution == "SuperresolutionHybrid2X" else 128
    if superresolution != "SuperresolutionHybridDeepfp32":
        record.attributes["sr_antialias"] = options["sr_antialias"]
