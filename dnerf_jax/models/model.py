"""A model: a generator, with or without a semantic branch, and what its labels are called."""

import hashlib
from typing import Any

import jax
import numpy as np
from flax import struct

from dnerf_jax.models.generator import Generator
from dnerf_jax.models.semantic import Branch
from dnerf_jax.ops.labels import LabelMap

LABELS_TRUNCATION = "labels_truncation_psi"  # a key of info: of scenes whose labels the branch learned, if not 1


@struct.dataclass
class Model:
    """A generator, with or without a semantic branch; a pytree, so it can be passed through `jit`.

    generator: its configuration and variables, and semantic: the branch's configuration and parameters, or None.
    label_map: of the branch's classes, or of the world that the generator learned, or None; static under `jit`, as info
    is: a tuple of (key, value) strings, of which "license" and "origin" are the usual keys.
    """

    generator: Generator
    semantic: Branch | None = None
    label_map: LabelMap | None = struct.field(pytree_node=False, default=None)
    info: tuple[tuple[str, str], ...] = struct.field(pytree_node=False, default=())

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that depend on every number of the generator: whose latents these are."""
        return fingerprint(self.generator.variables)

    def __repr__(self) -> str:
        config = self.generator.config
        parts = [
            f"generator of {_count(self.generator.variables['params'])}: z {config.z_dim}, c {config.c_dim}, "
            f"{len(config.plane_axes)} planes {config.plane_resolution} x {config.plane_resolution} x "
            f"{config.plane_channels}, {config.neural_rendering_resolution} to {config.image_resolution} pixels"
        ]
        if self.semantic is not None:
            classes = self.semantic.config.num_classes
            parts.append(f"semantic branch of {_count(self.semantic.params)}: {classes} classes")
        parts += [f"{key} {value}" for key, value in self.info if key == "origin"]
        return f"Model({'; '.join(parts)})"


def fingerprint(tree: Any) -> str:
    """16 hexadecimal digits of a tree of arrays: names, shapes and float32 values."""
    digest = hashlib.sha256()
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    for path, leaf in leaves:
        array = np.ascontiguousarray(np.asarray(leaf, np.float32))
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _count(tree: Any) -> str:
    return f"{sum(np.size(leaf) for leaf in jax.tree.leaves(tree)):,} parameters"
