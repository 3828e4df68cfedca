"""Encoders on the disk: a folder with encoder.json and params.npz, embedded beside the generator that it knows."""

import dataclasses
import os
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

from dnerf_jax.io import arrays, files, schema
from dnerf_jax.models import encoders
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import fingerprint
from dnerf_jax.networks.encoder import EncoderConfig

_CONFIG, _PARAMS = "encoder.json", "params.npz"


def save(path: str | os.PathLike, encoder: TrainedEncoder, *, dtype: str = "float32", replace: bool = False) -> None:
    """Writes an encoder into the folder `path`, which must not exist unless `replace`; "float16" halves the file."""
    flat = traverse_util.flatten_dict(encoder.params, sep="/")
    rounded = {name: np.asarray(value).astype(dtype) for name, value in flat.items()}
    description = {
        "network": dataclasses.asdict(encoder.config),
        "generator": encoder.generator,
        "fingerprint": fingerprint(rounded),
    }
    with files.atomic_folder(path, replace=replace) as folder:
        np.savez(folder / _PARAMS, **rounded)  # type: ignore[arg-type]
        files.write_json(folder / _CONFIG, description, indent=2)


def load(path: str | os.PathLike) -> TrainedEncoder:
    """Reads an encoder. Raises ValueError: there is none, or it is damaged."""
    folder = Path(path)
    if not os.path.isfile(folder / _CONFIG):
        raise ValueError(f"there is no encoder {folder}: it has no {_CONFIG}. Train one: python -m dnerf_jax.encode")
    description = files.read_json(folder / _CONFIG, "the configuration of an encoder")
    wrong = [
        name for name, kind in {"network": dict, "generator": str}.items() if type(description.get(name)) is not kind
    ]
    if wrong:
        raise ValueError(f"{folder / _CONFIG} lacks {wrong}: copy the encoder again")
    config = schema.as_dataclass(description["network"], EncoderConfig, f"{folder / _CONFIG}: network")
    try:
        template = jax.eval_shape(lambda: encoders.init(config, jax.random.key(0)))
    except Exception as error:  # Sizes that are no sizes of arrays fail anywhere.
        raise ValueError(f"{folder / _CONFIG}: no network can be built of these sizes ({error!s:.300})") from error
    shapes = {name: leaf.shape for name, leaf in traverse_util.flatten_dict(template, sep="/").items()}
    flat = arrays.load_arrays(folder / _PARAMS, shapes)
    differing = [name for name, shape in shapes.items() if flat[name].shape != shape]
    if differing or fingerprint(flat) != description.get("fingerprint"):
        raise ValueError(f"{folder / _PARAMS} is not what {_CONFIG} says ({differing or 'the numbers'}): copy it again")
    params = traverse_util.unflatten_dict({name: x.astype(np.float32) for name, x in flat.items()}, sep="/")
    return TrainedEncoder(config, params, description["generator"])


def find(generator: str, checkpoint: str | os.PathLike, path: str = "") -> TrainedEncoder | None:
    """The encoder of the generator with this fingerprint, None if there is none.

    path: its folder; "" is `encoder` beside the checkpoint's, or the embedded one.

    Raises ValueError: the folder is no encoder, or of another generator.
    """
    if path:
        found = load(path)
        if found.generator != generator:
            raise ValueError(
                f"the encoder {path} is of the generator {found.generator[:12]}, and {checkpoint} has {generator[:12]}:"
                f" train one of it, python -m dnerf_jax.encode --checkpoint {checkpoint}"
            )
        return found
    beside = Path(checkpoint).parent / "encoder"
    if os.path.isfile(beside / _CONFIG):
        found = load(beside)
        if found.generator == generator:
            return found
    return embedded(generator)


def embedded(generator: str) -> TrainedEncoder | None:
    """The embedded encoder of the generator with this fingerprint, or None."""
    for file in sorted(files.ASSETS.glob(f"*/{_CONFIG}")):
        if files.read_json(file, "the configuration of an encoder").get("generator") == generator:
            return load(file.parent)
    return None
