"""Labelled pictures of any origin: a folder of images and one of masks, with nothing known but what their pixels are.

    labelmap.json                ids, names and colours of the classes; or labelmap.txt, see `label_maps`
    images/NAME.png or .jpg      as people see them, square, each of its own size
    masks/NAME.png               single-channel ids of the image of that name, 255 = ignore

Pictures are read when their turn has come, so there may be any number of them.
"""

import dataclasses
import hashlib
import os
import pathlib

import numpy as np

from dnerf_jax.io import label_maps, png
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

IMAGES, MASKS, LABEL_MAP = "images", "masks", "labelmap.json"
_LABEL_MAPS = (LABEL_MAP, "labelmap.txt")
_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pairs of a folder, in the order of their names.

    images, masks: files of the same pairs. label_map: of the masks.
    """

    path: pathlib.Path
    images: tuple[pathlib.Path, ...]
    masks: tuple[pathlib.Path, ...]
    label_map: LabelMap

    def __len__(self) -> int:
        return len(self.images)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, H, 3) uint8 and mask (H, H) of pair `number`.

        Raises ValueError, naming the file: one cannot be read, has ids of another label map, is not square, or has
        another size than the other.
        """
        image = png.read_picture(self.images[number], white=True)
        mask = png.load_mask(self.masks[number], self.label_map)
        height, width = image.shape[:2]
        if mask.shape != (height, width):
            sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, {self.images[number]} {width} x {height}"
            raise ValueError(f"{self.masks[number]} has {sizes}: expected equal sizes, so label the image as it is")
        if height != width:
            raise ValueError(
                f"{self.images[number]} has {width} x {height} pixels, expected a square: crop it and its mask alike"
            )
        return image, mask

    def content(self) -> str:
        """16 hexadecimal digits of the label map, the masks, and the names and sizes of images.

        An image that changes neither is not noticed: to read them all would take long.
        """
        entries = [f"{path.name} {path.stat().st_size}" for path in self.images]
        digest = hashlib.sha256("\n".join([*entries, self.label_map.to_json()]).encode())
        for path in self.masks:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:16]


def is_one(path: str | os.PathLike) -> bool:
    """Whether a folder has images and masks."""
    return all((pathlib.Path(path) / name).is_dir() for name in (IMAGES, MASKS))


def load(path: str | os.PathLike) -> Pictures:
    """The pictures of a folder, none of which is opened yet.

    Raises ValueError: there is no label map, there are no pictures, or some lack their image or mask.
    """
    folder = pathlib.Path(path)
    label_map = next((folder / name for name in _LABEL_MAPS if (folder / name).is_file()), None)
    if label_map is None:
        raise ValueError(
            f"{folder} has no {some(_LABEL_MAPS, separator=' or ')}, which say what the ids of its masks are: write "
            "one, the names of the classes one a line will do in labelmap.txt"
        )
    images, masks = _named(folder / IMAGES, _SUFFIXES), _named(folder / MASKS, _SUFFIXES[:1])
    for absent, lacks in ((masks.keys() - images.keys(), IMAGES), (images.keys() - masks.keys(), MASKS)):
        if absent:
            raise ValueError(
                f"{folder / lacks} has no {some(sorted(absent))}, which the other folder has: every image has a mask "
                "of its name. Add them, or take the others out"
            )
    if not images:
        raise ValueError(f"{folder / IMAGES} has no pictures ({some(_SUFFIXES)}), expected at least one with its mask")
    names = sorted(images)
    ordered = [tuple(found[name] for name in names) for found in (images, masks)]
    return Pictures(folder, ordered[0], ordered[1], label_maps.read(label_map))


def _named(folder: pathlib.Path, suffixes: tuple[str, ...]) -> dict[str, pathlib.Path]:
    """The pictures of a folder by their names without suffix. Raises ValueError: two have one name."""
    found: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{folder} has {found[path.stem].name} and {path.name}: expected one of each name")
            found[path.stem] = path
    return found
