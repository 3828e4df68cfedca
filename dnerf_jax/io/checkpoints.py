"""Checkpoints: a folder of Orbax arrays with the model's configuration beside it.

    config.json   schema version, architecture, rendering options, label map, origin and licence, fingerprints
    generator/    Orbax: the generator's variables
    semantic/     Orbax: the semantic branch's parameters, where there is one

Fingerprints are of the arrays, and (from schema version 2 on, under "config") of all else in config.json: what was
changed or damaged is noticed. A checkpoint saved from any topology is restored onto any other. It is written whole or
not at all.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from dnerf_jax.io import files, schema
from dnerf_jax.models import generator, semantic
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops.devices import default_device
from dnerf_jax.ops.labels import LabelMap

SCHEMA_VERSION = 2
_FIELDS = {"generator": dict, "semantic": dict | None, "label_map": dict | None, "info": dict, "fingerprints": dict}
# Bytes that arrays may have in memory: so many for a start, and so many for every byte on the disk.
_ROOM, _RATIO = 16 << 20, 64


def save(path: str | os.PathLike, model: Model, *, dtype: str = "float32", replace: bool = False) -> None:
    """Writes a checkpoint.

    Args:
      path: the folder; must not exist unless `replace`.
      dtype: of the arrays on disk. They are float32 in memory; "float16" halves the file and rounds them. Integers stay
        what they are (a body's template has some).

    Raises ValueError: an array is not finite in that type, the model is one that `load` would refuse, or there is a
    folder with content already.
    """
    trees = {"generator": model.generator.variables}
    if model.semantic is not None:
        trees["semantic"] = model.semantic.params
    trees = {name: jax.tree.map(lambda x: _stored(x, dtype), tree) for name, tree in trees.items()}
    for name, tree in trees.items():
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
            raise ValueError(f"The {name} arrays are not all finite as {dtype}; save them as float32, or train anew.")
    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "dtype": str(dtype),
        "generator": dataclasses.asdict(model.generator.config),
        "semantic": None if model.semantic is None else dataclasses.asdict(model.semantic.config),
        "label_map": None if model.label_map is None else json.loads(model.label_map.to_json()),
        "info": dict(model.info),
    }
    _abstract(description, f"the model for {path}")
    description["fingerprints"] = {name: fingerprint(tree) for name, tree in trees.items()}
    description["fingerprints"]["config"] = config_fingerprint(description)
    with files.atomic_folder(path, replace=replace) as folder:
        for name, tree in trees.items():
            ocp.save((folder / name).absolute(), tree)
        files.write_json(folder / "config.json", description, indent=2)


def load(path: str | os.PathLike) -> Model:
    """Reads a checkpoint: a folder, or the name of an embedded one ("heads").

    Raises ValueError: there is none, it is corrupt, of a newer schema, or its arrays do not fit its configuration.
    """
    folder = _folder(path)
    description = _description(folder / "config.json")
    model = _abstract(description, f"{folder / 'config.json'}")
    variables = _arrays(folder, "generator", model.generator.variables, description)
    model = dataclasses.replace(model, generator=dataclasses.replace(model.generator, variables=variables))
    if model.semantic is not None:
        params = _arrays(folder, "semantic", model.semantic.params, description)
        model = dataclasses.replace(model, semantic=dataclasses.replace(model.semantic, params=params))
    return model


def embedded_of(pack: str | os.PathLike) -> str:
    """The name of the embedded checkpoint whose latents those of a pack are, by the fingerprint in its pack.json.

    Raises ValueError: they are another generator's, or there is no such pack.
    """
    wanted = files.read_json(files.located(pack, "pack.json") / "pack.json", "a pack's description")
    names = files.embedded_names("config.json")
    for name in names:
        described = files.read_json(files.ASSETS / name / "config.json", "a checkpoint's configuration")
        if isinstance(wanted, dict) and described["fingerprints"]["generator"] == wanted.get("fingerprint"):
            return name
    raise ValueError(f"the labelled views {pack} are of none of the embedded generators {names}: pass --checkpoint")


def _stored(x: Any, dtype: str) -> np.ndarray:
    array = np.asarray(x)
    return array if array.dtype.kind in "iu" else array.astype(dtype)


def config_fingerprint(description: dict[str, Any]) -> str:
    """16 hexadecimal digits of all of config.json but its fingerprints."""
    others = {name: value for name, value in description.items() if name != "fingerprints"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:16]


def _folder(path: str | os.PathLike) -> pathlib.Path:
    folder = files.located(path, "config.json")
    if os.path.isfile(folder / "config.json"):  # which, unlike Path's, raises nothing
        return folder
    if os.path.isfile(folder / "model" / "config.json"):
        raise ValueError(f"{folder} is the folder of a run: its checkpoint is {folder / 'model'}")
    if os.path.isdir(folder):
        raise ValueError(
            f"{folder} is no checkpoint: it has no config.json. Pass a folder that was trained or converted."
        )
    embedded = files.embedded_names("config.json")
    raise ValueError(f"There is no checkpoint {str(path)!r}: no such folder, and embedded are {embedded}.")


def _description(file: pathlib.Path) -> dict[str, Any]:
    """The content of config.json, once its version, its fingerprint and the kinds of its parts are right."""
    description = files.read_json(file, "a checkpoint's configuration")
    version = description.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(
            f"{file} has schema version {version!r:.50}; this dnerf_jax reads 1 to {SCHEMA_VERSION}. Upgrade dnerf_jax "
            "if the checkpoint is newer, else copy it again."
        )
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(description.get(name, ...), kind)]
    if wrong:
        raise ValueError(f"{file} is corrupt: it lacks {wrong}, or has them of another kind; copy the checkpoint again")
    expected, found = description["fingerprints"].get("config"), config_fingerprint(description)
    if version > 1 and found != expected:
        raise ValueError(
            f"{file} has the fingerprint {found}, and says {expected!r:.50}: it was changed or damaged. Copy the "
            "checkpoint again; to change a model, load it, replace what you want and save it under another name."
        )
    return description


def _abstract(description: dict[str, Any], source: str) -> Model:
    """The model of a description, with shapes instead of arrays; `source` is what messages call it."""
    if "plane_axes" not in description["generator"]:
        raise ValueError(f"{source}: generator lacks the field 'plane_axes', without which planes mean nothing")
    config = schema.as_dataclass(description["generator"], generator.GeneratorConfig, f"{source}: generator")
    axes = config.plane_axes
    if not axes or any(len(plane) != 3 or {len(row) for row in plane} != {3} for plane in axes):
        raise ValueError(f"{source}: generator.plane_axes are {axes!r:.200}, expected 3 x 3 numbers for every plane")
    determinants = np.linalg.det(np.asarray(axes, np.float64))
    if not (np.abs(determinants) > 1e-6).all():
        raise ValueError(f"{source}: generator.plane_axes {axes!r:.200} have no inverse, so planes cannot be looked up")
    made, branch = _built(lambda: generator.abstract(config), f"{source}: generator"), None
    if description["semantic"] is not None:
        form = schema.as_dataclass(description["semantic"], semantic.SemanticConfig, f"{source}: semantic")
        branch = _built(lambda: semantic.abstract(form, config), f"{source}: semantic")
    label_map, info = None, description["info"]
    if description["label_map"] is not None:
        try:
            label_map = LabelMap.from_data(description["label_map"])
        except ValueError as error:
            raise ValueError(f"{source}: label_map: {error}") from error
    if branch is not None and label_map is not None and label_map.num_classes != branch.config.num_classes:
        raise ValueError(
            f"{source}: the label map has {label_map.num_classes} classes, the branch {branch.config.num_classes}"
        )
    if not all(isinstance(value, str) for value in info.values()):
        raise ValueError(f"{source}: info is {info!r:.200}, expected strings by name")
    return Model(generator=made, semantic=branch, label_map=label_map, info=tuple(info.items()))


def _built(make: Callable[[], Any], source: str) -> Any:
    try:
        return make()
    except Exception as error:  # Sizes that fit each other nowhere fail anywhere.
        raise ValueError(f"{source}: no network can be built of these sizes ({error!s:.300})") from error


def _arrays(folder: pathlib.Path, name: str, template: Any, description: dict[str, Any]) -> Any:
    """Restores one tree as float32, integers as they are, and checks it against its fingerprint."""
    device = jax.sharding.SingleDeviceSharding(default_device())

    def of(x: Any) -> jax.ShapeDtypeStruct:
        integer = jnp.issubdtype(x.dtype, jnp.integer)
        return jax.ShapeDtypeStruct(x.shape, x.dtype if integer else jnp.float32, sharding=device)

    template = jax.tree.map(of, template)
    try:
        needed = 4 * sum(leaf.size for leaf in jax.tree.leaves(template))
        there = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        if needed > _ROOM + _RATIO * there:
            raise ValueError(f"{needed} bytes are expected, and the files have {there}")
        tree = ocp.load((folder / name).absolute(), template)
    except Exception as error:  # Orbax raises many kinds; what the user can do is the same for all.
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{folder / name} cannot be restored: its arrays are damaged or not those of its config.json "
            f"({reason:.150}). Copy the checkpoint again, or convert or train it anew."
        ) from error
    expected = description["fingerprints"].get(name)
    if fingerprint(tree) != expected:
        raise ValueError(
            f"{folder / name} has the fingerprint {fingerprint(tree)}, config.json says {expected!r:.50}: "
            "the arrays were changed or damaged. Copy the checkpoint again."
        )
    return tree
