"""Checkpoints: a folder of Orbax arrays with the model's configuration beside it.

    config.json   schema version, architecture, rendering options, label map, origin and licence, fingerprints
    generator/    Orbax: the generator's variables
    semantic/     Orbax: the semantic branch's parameters, where there is one

A checkpoint saved from any topology is restored onto any other. It is written whole or not at all.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from dnerf_jax.io import files, schema
from dnerf_jax.models import generator, semantic
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops.labels import LabelMap

SCHEMA_VERSION = 1


def save(path: str | os.PathLike, model: Model, *, dtype: str = "float32", replace: bool = False) -> None:
    """Writes a checkpoint.

    Args:
      path: the folder; must not exist unless `replace`.
      dtype: of the arrays on disk. They are float32 in memory; "float16" halves the file and rounds them.

    Raises ValueError: an array is not finite in that type, or there is a folder with content already.
    """
    trees = {"generator": model.generator.variables}
    if model.semantic is not None:
        trees["semantic"] = model.semantic.params
    trees = {name: jax.tree.map(lambda x: np.asarray(x).astype(dtype), tree) for name, tree in trees.items()}
    for name, tree in trees.items():
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
            raise ValueError(f"The {name} arrays are not all finite as {dtype}; save them as float32, or train anew.")
    description = {
        "schema_version": SCHEMA_VERSION,
        "dtype": str(dtype),
        "generator": dataclasses.asdict(model.generator.config),
        "semantic": None if model.semantic is None else dataclasses.asdict(model.semantic.config),
        "label_map": None if model.label_map is None else json.loads(model.label_map.to_json()),
        "info": dict(model.info),
        "fingerprints": {name: fingerprint(tree) for name, tree in trees.items()},
    }
    with files.atomic_folder(path, replace=replace) as folder:
        for name, tree in trees.items():
            ocp.save((folder / name).absolute(), tree)
        files.write_json(folder / "config.json", description, indent=2)


def load(path: str | os.PathLike) -> Model:
    """Reads a checkpoint: a folder, or the name of an embedded one ("heads").

    Raises ValueError: there is none, it is corrupt, of a newer schema, or its arrays do not fit its configuration.
    """
    folder = _folder(path)
    description = _description(folder)
    config = schema.as_dataclass(description["generator"], generator.GeneratorConfig, f"{folder}: generator")
    abstract = generator.abstract(config)
    made = dataclasses.replace(abstract, variables=_arrays(folder, "generator", abstract.variables, description))
    branch = None
    if description["semantic"] is not None:
        form = schema.as_dataclass(description["semantic"], semantic.SemanticConfig, f"{folder}: semantic")
        branch = semantic.abstract(form, config)
        branch = dataclasses.replace(branch, params=_arrays(folder, "semantic", branch.params, description))
    label_map = description["label_map"]
    return Model(
        generator=made,
        semantic=branch,
        label_map=None if label_map is None else LabelMap.from_json(json.dumps(label_map)),
        info=tuple(description["info"].items()),
    )


def _folder(path: str | os.PathLike) -> pathlib.Path:
    folder = files.located(path, "config.json")
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise ValueError(f"{folder} is no checkpoint: it has no config.json. Pass the folder that save() wrote.")
    embedded = files.embedded_names("config.json")
    raise ValueError(f"There is no checkpoint {str(path)!r}: no such folder, and embedded are {embedded}.")


def _description(folder: pathlib.Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        description = json.loads(file.read_text())
        version = description["schema_version"]
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is corrupt ({error!r}); copy the checkpoint again.") from error
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ValueError(
            f"{file} has schema version {version}; this dnerf_jax reads up to {SCHEMA_VERSION}. Upgrade dnerf_jax."
        )
    missing = {"generator", "semantic", "label_map", "info", "fingerprints"} - set(description)
    if missing:
        raise ValueError(f"{file} is corrupt: it lacks {sorted(missing)}; copy the checkpoint again.")
    return description


def _arrays(folder: pathlib.Path, name: str, template: Any, description: dict[str, Any]) -> Any:
    """Restores one tree as float32 and checks it against its fingerprint."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=device), template)
    try:
        tree = ocp.load((folder / name).absolute(), template)
    except Exception as error:  # Orbax raises many kinds; what the user can do is the same for all.
        raise ValueError(
            f"{folder / name} cannot be restored: its arrays are damaged or not those of its config.json ({error}). "
            "Copy the checkpoint again, or convert or train it anew."
        ) from error
    expected = description["fingerprints"].get(name)
    if fingerprint(tree) != expected:
        raise ValueError(
            f"{folder / name} has the fingerprint {fingerprint(tree)}, config.json says {expected}: "
            "the arrays were changed or damaged. Copy the checkpoint again."
        )
    return tree
