"""Which view a picture's file is of, and which class a label tool's name means.

Pictures are given out as 0012_3fa95c01.png: the number of the view, and eight digits of its latent and camera, so that
labels of one pack do not end up on another's views. Names without the digits, as packs themselves have them, are
understood too, and so is what Label Studio puts before an uploaded file's name.
"""

import re
import zlib
from collections.abc import Mapping

from dnerf_jax.io.packs import Annotations
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import did_you_mean, some

_KEY = re.compile(r"(?:[0-9a-f]{8}-)?(\d{4,9})(?:_([0-9a-f]{8}))?")
_IGNORE = ("ignore", "__ignore__", "void")
_BACKGROUND = ("background", "_background_", "__background__")


def key(pack: Annotations, index: int) -> str:
    """What the files of a view are called outside, without a suffix."""
    parts = (pack.z[index], pack.cam2world[index], pack.intrinsics[index])
    digits = zlib.crc32(b"".join([pack.fingerprint.encode(), *(part.tobytes() for part in parts)]))
    return f"{index:04d}_{digits:08x}"


def index_of(pack: Annotations, name: str) -> int:
    """The view that a file's name means. Raises ValueError: none of this pack."""
    stem = re.split(r"[/\\=]", name)[-1].rsplit(".", 1)[0]
    match = _KEY.fullmatch(stem)
    if match is None or int(match[1]) >= len(pack):
        raise ValueError(f"its name is of no view: expected 0000 to {len(pack) - 1:04d}, as the pictures are called")
    index = int(match[1])
    if match[2] and key(pack, index) != f"{index:04d}_{match[2]}":
        raise ValueError(f"it is view {index} of another pack, as the digits {match[2]} of its name say")
    return index


def ignore_name(label_map: LabelMap) -> str:
    """What pixels without a label are called where a tool needs a name for them."""
    taken = {_plain(name) for name in label_map.names}
    return next((name for name in _IGNORE if _plain(name) not in taken), "no label given")


def require_told_apart(label_map: LabelMap) -> None:
    """Raises ValueError: there is one class alone, or names that label tools' exports could not be told apart by."""
    if label_map.num_classes < 2:
        raise ValueError(
            f"the label map has the class {label_map.names[0]!r} alone, and labels tell classes apart: name two or"
            " more, the background first"
        )
    plain = [_plain(name) for name in label_map.names]
    alike = [name for name, each in zip(label_map.names, plain, strict=True) if plain.count(each) > 1]
    if alike:
        raise ValueError(
            f"the names {some(map(repr, alike))} differ in case, spaces, - and _ alone, which label tools do not keep:"
            " name the classes otherwise"
        )


class Names:
    """The ids of a label tool's names: told ones first, then exact ones, then those that differ in case, - and _.

    "background" and "ignore", as tools have them, mean class 0 and 255 where no class is called so.

    Args:
      told: class names, or "ignore", by the tool's names.

    Raises ValueError: what is told names no class.
    """

    def __init__(self, label_map: LabelMap, told: Mapping[str, str] | None = None) -> None:
        self.found: dict[str, int] = {}
        self._names = label_map.names
        ids = {name: index for index, name in enumerate(label_map.names)}
        plain: dict[str, int] = {ignore_name(label_map): LabelMap.IGNORE}
        plain |= dict.fromkeys(_IGNORE, LabelMap.IGNORE) | dict.fromkeys(_BACKGROUND, 0)
        for name, index in ids.items():
            plain[_plain(name)] = index if [_plain(other) for other in ids].count(_plain(name)) == 1 else -1
        self._plain, self._ids = plain, ids
        for name, meant in (told or {}).items():
            self._ids = self._ids | {name: self._find(str(meant), "--names says that")}

    def __call__(self, name: str) -> int:
        """The id of a name. Raises ValueError: it is none."""
        if name not in self.found:
            self.found[name] = self._find(name, "")
        return self.found[name]

    def _find(self, name: str, who: str) -> int:
        index = self._ids.get(name, self._plain.get(_plain(name), -1))
        if index < 0:
            raise ValueError(
                f"{who + ' a name means' if who else 'it has the name'} {name!r:.100}, and there is no such"
                f" class{did_you_mean(name[:100], self._names)}; say what it means in --names FILE"
            )
        return index

    def told(self) -> list[str]:
        """A line for every name that was found: "Hair -> 4 hair"."""
        called = {LabelMap.IGNORE: "ignore"} | dict(enumerate(self._names))
        return [f"{name} -> {index} {called[index]}" for name, index in sorted(self.found.items())]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip() or name
