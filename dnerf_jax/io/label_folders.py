"""Packs that are being labelled: views are added, masks are written one by one, some are not labelled yet.

A view is labelled as soon as a pixel of its mask is not "ignore" (255). Whoever writes claims the folder first
(`folders.claimed`).
"""

import os
import pathlib
import shutil

import jax
import numpy as np

from dnerf_jax.io import files, folders, packs, png, scene_folders
from dnerf_jax.io import pack_checks as checks
from dnerf_jax.io.packs import Annotations
from dnerf_jax.ops.labels import LabelMap

NAME = "pack.json"  # by which a folder is known to be a pack


def require(path: pathlib.Path) -> None:
    """Raises ValueError, saying what to do: the folder is not one of labels."""
    if not (path / NAME).is_file():
        scene = (path / scene_folders.NAME).exists()
        what = "it has a scene, which `label serve --scene DIR` edits" if scene else "`label propose` makes one"
        raise ValueError(f"{path} is no folder of labels, which has a {NAME}: {what}")


def has_labels(annotations: Annotations) -> np.ndarray:
    """Which views are labelled, bool (N,)."""
    return (annotations.masks != LabelMap.IGNORE).any((1, 2))


def labelled(annotations: Annotations) -> Annotations:
    """The views that are labelled; the others teach nothing, and have no part in a training or a score."""
    return annotations[has_labels(annotations)]


def joined(first: Annotations, second: Annotations) -> Annotations:
    """The views of both, those of `second` behind; it must be of the same checkpoint, classes and truncation.

    latent_ids of `second` are taken as they are: views of a latent that both have share its number.

    Raises ValueError: it is of others, or its images have another size.
    """
    for name in ("fingerprint", "label_map", "truncation_psi", "resolution"):
        if getattr(first, name) != getattr(second, name):
            raise ValueError(
                f"the new views have the {name} {getattr(second, name)!r:.200}, those of {first.name!r}"
                f" {getattr(first, name)!r:.200}: one folder has views of one kind, so name a new one"
            )
    views = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("images", "masks", "z", "cam2world", "intrinsics", "latent_id")
    }
    pose = jax.tree.map(lambda a, b: np.concatenate([a, b]), first.pose, second.pose)
    return Annotations(
        **views,
        pose=pose,
        label_map=first.label_map,
        fingerprint=first.fingerprint,
        name=first.name,
        licence=first.licence,
        truncation_psi=first.truncation_psi,
    )


def extend(path: str | os.PathLike, more: Annotations) -> Annotations:
    """Adds views behind those of the pack in a folder, whole or not at all; all files that are there stay as they are.

    Returns the pack with them. Raises ValueError as `packs.load` and `joined` do.
    """
    path, there = pathlib.Path(path), packs.load(path, unlabelled=True)
    both = joined(there, more)
    problems = checks.field_problems(vars(both), unlabelled=True)
    if problems:
        raise ValueError(checks.listed(f"the new views for {path}", problems))
    with files.atomic_folder(path, replace=True) as folder:
        shutil.copytree(path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(folders.LOCK))
        for index in range(len(there), len(both)):
            name = packs.file_name(index)
            png.save_image(folder / "images" / name, both.images[index], optimize=True)
            png.save_mask(folder / "masks" / name, both.masks[index], both.label_map)
        packs.write_views(folder, both)
    return both


def write_mask(path: str | os.PathLike, index: int, mask: np.ndarray, label_map: LabelMap) -> None:
    """Replaces the mask of one view of the pack in a folder, whole or not at all."""
    png.save_mask(pathlib.Path(path) / "masks" / packs.file_name(index), mask, label_map)
