"""A pack's folder while it is labelled: masks by view, each with a version, written whole or not at all.

A version is a fingerprint of the mask itself. Whoever saves says which one the new mask was made from; another on the
disk is somebody else's work, which is not overwritten. So it also holds for a server that was started anew.
"""

import contextlib
import dataclasses
import hashlib
import threading
from pathlib import Path

import jax
import numpy as np

from dnerf_jax.io import folders, label_folders, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models.articulated import Pose
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap


class ConflictError(ValueError):
    """The mask on the disk is not the one that was changed."""


def version(mask: np.ndarray) -> str:
    """16 hexadecimal digits that tell a mask from others."""
    return hashlib.sha256(np.ascontiguousarray(mask, np.uint8).tobytes()).hexdigest()[:16]


def require_made_from(there: np.ndarray, made_from: str, index: int) -> None:
    """Raises ConflictError: the mask that is there of a view is another than the one whose version is `made_from`."""
    if made_from != version(there):
        raise ConflictError(f"view {index} was changed elsewhere since, in another tab perhaps")


class Workspace:
    """The views of a pack's folder, which this process has claimed; its methods may be called by several threads.

    path: the folder. Raises ValueError as `packs.load`.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._claims = contextlib.ExitStack()
        self._pack = packs.load(path, unlabelled=True)

    @property
    def pack(self) -> Annotations:
        """The pack as it is on the disk now."""
        with self._lock:
            return self._pack

    @property
    def resolution(self) -> int:
        """The side of pictures and masks in pixels."""
        return self._pack.resolution

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._pack.label_map

    def mask(self, index: int) -> np.ndarray:
        """The mask (R, R) of a view. Raises IndexError: there is no such view."""
        return self.pack.masks[self._known(index)]

    def save(self, index: int, mask: np.ndarray, made_from: str) -> str:
        """Writes the mask of a view and returns its version.

        Saving once more what was saved already is no conflict: the answer may have been lost on the way.

        Raises ConflictError: `made_from` is not the version that is there. IndexError: there is no such view.
        """
        with self._lock:
            there = self.mask(index)
            if (mask == there).all():
                return version(mask)
            require_made_from(there, made_from, index)
            label_folders.write_mask(self.path, index, mask, self._pack.label_map)
            masks = self._pack.masks.copy()
            masks[index] = mask
            self._pack = dataclasses.replace(self._pack, masks=masks)
            return version(mask)

    def add(self, like: int, image: np.ndarray, mask: np.ndarray, camera: Camera) -> int:
        """Adds a view of the scene of the view `like` from another camera, and returns its number.

        image: (R, R, 3) uint8. mask: (R, R). Raises IndexError: there is no view `like`.
        """
        with self._lock:
            one = self._pack[[self._known(like)]]
            more = dataclasses.replace(
                one,
                images=image[None],
                masks=mask[None],
                cam2world=np.asarray(camera.cam2world)[None],
                intrinsics=np.asarray(camera.intrinsics)[None],
            )
            self._pack = label_folders.extend(self.path, more)
            # The folder is a new one, which nobody has claimed yet.
            self._claims.enter_context(folders.claimed(self.path))
            return len(self._pack) - 1

    def others(self, index: int) -> list[int]:
        """The labelled views of a view's scene, without itself. Raises IndexError: there is no such view."""
        pack = self.pack
        same = (pack.latent_id == pack.latent_id[self._known(index)]) & label_folders.has_labels(pack)
        if pack.pose is not None:  # another pose is another scene
            same &= _equal_poses(pack.pose, index)
        same[index] = False
        return np.flatnonzero(same).tolist()

    def labelled_shares(self) -> list[float]:
        """Of every view the share of its pixels that are labelled."""
        return (self.pack.masks != LabelMap.IGNORE).mean((1, 2)).tolist()

    def close(self) -> None:
        """Gives back what was claimed."""
        self._claims.close()

    def _known(self, index: int) -> int:
        if not 0 <= index < len(self._pack):
            raise IndexError(f"there is no view {index}, expected 0 to {len(self._pack) - 1}")
        return index


def _equal_poses(pose: Pose, index: int) -> np.ndarray:
    same = [(x == x[index]).reshape(len(x), -1).all(1) for x in jax.tree.leaves(pose)]
    return np.all(same, axis=0)
