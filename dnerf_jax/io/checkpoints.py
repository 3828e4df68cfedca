"""Models and their checkpoints: a folder of Orbax arrays with its configuration beside it.

    config.json   schema version, architecture, rendering options, label map, origin and licence, fingerprints
    generator/    Orbax: the generator's variables
    semantic/     Orbax: the semantic branch's parameters, where there is one

A checkpoint saved from any topology is restored onto any other. It is written whole or not at all.
"""

import dataclasses
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from orbax.checkpoint import v1 as ocp

from dnerf_jax.io import files, schema
from dnerf_jax.models import generator, semantic
from dnerf_jax.ops.labels import LabelMap

SCHEMA_VERSION = 1


@struct.dataclass
class Model:
    """A generator, with or without a semantic branch: arrays, and what is needed to use them.

    config, semantic_config, label_map and info are static under `jit`. info is a tuple of (key, value) strings;
    "license" and "origin" are its usual keys.
    """

    config: generator.GeneratorConfig = struct.field(pytree_node=False)
    variables: dict[str, Any]
    semantic_config: semantic.SemanticConfig | None = struct.field(pytree_node=False, default=None)
    semantic_params: Any = None
    label_map: LabelMap | None = struct.field(pytree_node=False, default=None)
    info: tuple[tuple[str, str], ...] = struct.field(pytree_node=False, default=())

    @property
    def fingerprint(self):
        """16 hexadecimal digits that depend on every number of the generator: whose latents these are."""
        return fingerprint(self.variables)


def fingerprint(tree):
    """16 hexadecimal digits of a tree of arrays: names, shapes and float32 values."""
    digest = hashlib.sha256()
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    for path, leaf in leaves:
        array = np.ascontiguousarray(np.asarray(leaf, np.float32))
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def save(path, model, *, dtype="float32", replace=False):
    """Writes a checkpoint.

    Args:
      path: the folder; must not exist unless `replace`.
      dtype: of the arrays on disk. They are float32 in memory; "float16" halves the file and rounds them.
    """
    trees = {"generator": model.variables}
    if model.semantic_params is not None:
        trees["semantic"] = model.semantic_params
    trees = {name: jax.tree.map(lambda x: np.asarray(x).astype(dtype), tree) for name, tree in trees.items()}
    for name, tree in trees.items():
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
            raise ValueError(f"The {name} arrays are not all finite as {dtype}; save them as float32, or train anew.")
    description = {
        "schema_version": SCHEMA_VERSION,
        "dtype": str(dtype),
        "generator": dataclasses.asdict(model.config),
        "semantic": None if model.semantic_config is None else dataclasses.asdict(model.semantic_config),
        "label_map": None if model.label_map is None else json.loads(model.label_map.to_json()),
        "info": dict(model.info),
        "fingerprints": {name: fingerprint(tree) for name, tree in trees.items()},
    }
    with files.atomic_folder(path, replace=replace) as folder:
        for name, tree in trees.items():
            ocp.save((folder / name).absolute(), tree)
        (folder / "config.json").write_text(json.dumps(description, indent=2) + "\n")


def load(path):
    """Reads a checkpoint: a folder, or the name of an embedded one ("heads").

    Raises:
      ValueError: there is none, it is corrupt, of a newer schema, or its arrays do not fit its configuration.
    """
    folder = _folder(path)
    description = _description(folder)
    config = schema.as_dataclass(description["generator"], generator.GeneratorConfig, f"{folder}: generator")
    variables = _arrays(folder, "generator", generator.abstract_variables(config), description)
    semantic_config = params = None
    if description["semantic"] is not None:
        semantic_config = schema.as_dataclass(
            description["semantic"], semantic.SemanticConfig, f"{folder}: semantic"
        )
        template = jax.eval_shape(lambda: semantic.init(semantic_config, config, jax.random.key(0)))
        params = _arrays(folder, "semantic", template, description)
    label_map = description["label_map"]
    return Model(
        config=config,
        variables=variables,
        semantic_config=semantic_config,
        semantic_params=params,
        label_map=None if label_map is None else LabelMap.from_json(json.dumps(label_map)),
        info=tuple(description["info"].items()),
    )


def _folder(path):
    folder = files.located(path, "config.json")
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise ValueError(f"{folder} is no checkpoint: it has no config.json. Pass the folder that save() wrote.")
    embedded = files.embedded_names("config.json")
    raise ValueError(f"There is no checkpoint {str(path)!r}: no such folder, and embedded are {embedded}.")


def _description(folder):
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


def _arrays(folder, name, template, description):
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
