"""Classes of a label map: their ids, names and colours.

A mask is an integer array (..., H, W) of class ids 0 to num_classes - 1; 255 means "ignore": no label was given there.
Class 0 is the background. Files of masks and label maps are written and read by `io.png`.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dnerf_jax.ops.messages import some

IGNORE_COLOR = (224, 224, 192)  # The pale border colour of Pascal VOC, which no class should use.
_LONGEST = 100  # characters of a name
_OTHER_SIDE = {a: b for pair in (("left", "right"), ("Left", "Right")) for a, b in (pair, pair[::-1])}
_SIDES = re.compile(rf"(?<![^\W_])({'|'.join(_OTHER_SIDE)})(?![^\W_])")


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """Names and colours of the classes, in the order of their ids.

    names: unique, printable strings of 1 to 100 characters; at most 255, since the id 255 means ignore.
    colors: one (red, green, blue) of integers 0 to 255 per class, for display only.

    Hashable, so it can be a static field. Raises ValueError naming every offending name or colour.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    IGNORE: ClassVar[int] = 255

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise ValueError(f"names is the single string {self.names!r}, expected a sequence of names, one per class")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "colors", tuple(_color(color) for color in self.colors))
        if not 1 <= len(self.names) <= self.IGNORE:
            raise ValueError(
                f"a label map has 1 to {self.IGNORE} classes (the id {self.IGNORE} means ignore), got {len(self.names)}"
            )
        if len(self.colors) != len(self.names):
            raise ValueError(f"got {len(self.names)} names but {len(self.colors)} colours: give one colour per class")
        bad = [f"{name!r:.50}" for name in self.names if not _is_name(name)]
        if bad:
            raise ValueError(
                f"names must be non-empty printable strings of at most {_LONGEST} characters without outer spaces,"
                f" got [{some(bad)}]"
            )
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must be unique, but {repeated} occur more than once")

    @property
    def num_classes(self) -> int:
        """Number of classes, the background included, ignore not."""
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """Colours by id, uint8 (256, 3): ignore in IGNORE_COLOR, ids without a class black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = self.colors
        palette[self.IGNORE] = IGNORE_COLOR
        return palette

    @property
    def mirrored(self) -> np.ndarray:
        """The class that every id has in a mirror, uint8 (256,): "left_hand" is "right_hand" there, and "nose" itself.

        Sides are told by the words left and right in names, between which are spaces, "_", "-" or ".".

        Raises ValueError: there is a class of one side only.
        """
        table = np.arange(256, dtype=np.uint8)
        for index, name in enumerate(self.names):
            other = _SIDES.sub(lambda found: _OTHER_SIDE[found[0]], name)
            if other != name and other not in self.names:
                raise ValueError(
                    f"the label map has {name!r} but no {other!r}, so that masks cannot be mirrored: do not flip images"
                )
            table[index] = self.names.index(other)
        return table

    def check(self, mask: Any, source: str = "the mask") -> np.ndarray:
        """The mask as uint8, once its ids are found to be of this map.

        Raises ValueError, naming `source` and the ids, if some are not.
        """
        mask = np.asarray(mask)
        if mask.dtype.kind not in "iu":
            raise ValueError(f"{source} has values of type {mask.dtype}, expected integer class ids")
        found = np.unique(mask)
        unknown = found[((found < 0) | (found >= self.num_classes)) & (found != self.IGNORE)]
        if unknown.size:
            raise ValueError(
                f"{source} has the unknown ids [{some(unknown, 12)}], expected 0 to {self.num_classes - 1} or"
                f" {self.IGNORE} (ignore); all ids found: [{some(found, 12)}]. Is it of another label map?"
            )
        return mask.astype(np.uint8)

    def counts(self, masks: Any) -> np.ndarray:
        """How many pixels every class has in masks of any shape, int64 (num_classes,); those to ignore do not count."""
        return np.bincount(self.check(masks).ravel(), minlength=256)[: self.num_classes].astype(np.int64)

    def require_classes(self, masks: Any, source: str = "the masks") -> None:
        """Raises ValueError, naming `source`, if no pixel of masks has a class beside the background.

        So it is with black-and-white masks, 0 and 255, which would be learned and scored perfectly: 255 means ignore.
        """
        if self.num_classes > 1 and not self.counts(masks)[1:].any():
            ids = some(np.unique(masks))
            raise ValueError(
                f"{source} have no pixel of a class beside {self.names[0]!r}; all ids found: [{ids}]. Black-and-white"
                f" masks say nothing, since {self.IGNORE} means ignore: write the ids 0 to {self.num_classes - 1}"
            )

    def read_palette(self, mask: np.ndarray, palette: Any, source: str = "the mask") -> np.ndarray:
        """The ids of a palette mask whose indices may have been numbered anew, as editors and optimisers do.

        palette: (P, 3), the colours of the indices. Where those in use are this map's but of other ids, or the greys of
        other ids (of a mask that was greyscale), the colours say the ids. Otherwise a palette is for display, may have
        any colours, and `mask` itself is returned.

        Raises ValueError, naming `source`, where colours contradict the indices but do not say all ids.
        """
        used, palette = np.unique(mask), np.asarray(palette).reshape(-1, 3).tolist()
        colors = [tuple(palette[index]) if index < len(palette) else () for index in used]
        valid = [*range(self.num_classes), self.IGNORE]
        ids = [{index for index in valid if tuple(self.palette[index].tolist()) == color} for color in colors]
        greys = [{index for index in valid if (index,) * 3 == color} for color in colors]
        if not all(len(found) == 1 for found in ids):
            if all(greys) and any(0 < index < self.num_classes for found in greys for index in found):
                ids = greys
            elif any(found and index not in found for index, found in zip(used, ids, strict=True)):
                pairs = [f"{index} {color}" for index, color in zip(used, colors, strict=True)]
                raise ValueError(
                    f"{source} has indices in the colours of other ids, as editors make them that number palettes anew,"
                    f" but not all of its colours say one id: {some(pairs, 16)}. Write the ids as a greyscale PNG, or"
                    " use exactly the label map's colours, one for each class"
                )
            else:
                return mask
        table = np.arange(256, dtype=np.uint8)
        table[used] = [min(found) for found in ids]
        return mask if (table[used] == used).all() else table[mask]

    def colorize(self, mask: Any) -> np.ndarray:
        """Paints ids (..., H, W) in their colours, uint8 (..., H, W, 3); ignore in IGNORE_COLOR.

        Raises ValueError listing the ids that are not in the map.
        """
        return self.palette[self.check(mask)]

    def to_json(self) -> str:
        """The JSON text {"classes": [{"id", "name", "color"}, ...], "ignore": 255}."""
        classes = [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(zip(self.names, self.colors, strict=True))
        ]
        return json.dumps({"classes": classes, "ignore": self.IGNORE}, indent=1, ensure_ascii=False)

    @classmethod
    def from_data(cls, data: Any) -> "LabelMap":
        """The label map of what `to_json` writes; ids must be 0, 1, ... without gaps, in any order.

        Raises ValueError on missing keys, offending ids, or an ignore that is not 255.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("classes"), list):
            raise ValueError(
                f'a label map is {{"classes": [{{"id", "name", "color"}}, ...], "ignore": 255}}, got {data!r:.200}'
            )
        if type(data.get("ignore", cls.IGNORE)) is not int or data.get("ignore", cls.IGNORE) != cls.IGNORE:
            raise ValueError(
                f"the label map has ignore = {data['ignore']!r:.50}, expected {cls.IGNORE}:"
                f" change it, and rewrite the masks with {cls.IGNORE} where they ignore"
            )
        wanted = {"id", "name", "color"}
        for entry in data["classes"]:
            if not isinstance(entry, Mapping) or not wanted <= set(entry):
                raise ValueError(f"a class of the label map needs the keys {sorted(wanted)}, got {entry!r:.200}")
        ids = [entry["id"] for entry in data["classes"]]
        if any(type(index) is not int for index in ids) or sorted(ids) != list(range(len(ids))):
            found = some((f"{index!r:.20}" for index in ids), 16)
            raise ValueError(f"class ids must be 0 to {len(ids) - 1}, each once, got [{found}]")
        entries = sorted(data["classes"], key=lambda entry: entry["id"])
        return cls(names=tuple(e["name"] for e in entries), colors=tuple(e["color"] for e in entries))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST and name == name.strip() and name.isprintable()


def _color(color: Any) -> tuple[int, int, int]:
    values = tuple(color) if isinstance(color, (tuple, list, np.ndarray)) else ()
    whole = all(isinstance(value, int | np.integer) and type(value) is not bool for value in values)
    if len(values) != 3 or not whole or not all(0 <= value <= 255 for value in values):
        raise ValueError(f"a colour is (red, green, blue), integers 0 to 255, got {color!r:.80}")
    red, green, blue = (int(value) for value in values)
    return red, green, blue
