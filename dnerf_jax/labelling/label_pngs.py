"""Masks as PNGs: of ids, of palettes, of colours; and CVAT's "segmentation mask 1.1", which is Pascal VOC's layout.

    images/0012_3fa95c01.png                JPEGImages/0012_3fa95c01.png            the pictures
    masks/0012_3fa95c01.png                 SegmentationClass/0012_3fa95c01.png     ids, whose palettes have the colours
    labelmap.json, labelmap.txt             labelmap.txt, ImageSets/, SegmentationObject/

Read are palettes and colours by what labelmap.txt says of them, where there is one, never by their numbers: other
tools number anew. Without it they are the pack's own ids and colours. A colour that is nobody's, of a smoothed edge
say, is an error. In CVAT's masks the background is what nobody labelled: a mask of nothing else is not labelled.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dnerf_jax.factory.writers import cvat
from dnerf_jax.io import encoding, label_maps, png
from dnerf_jax.labelling import naming
from dnerf_jax.labelling.drawn import Picture, Shape
from dnerf_jax.labelling.giving_out import Task
from dnerf_jax.ops.labels import IGNORE_COLOR, LabelMap
from dnerf_jax.ops.messages import some

CVAT = "SegmentationClass"
_TXT = "labelmap.txt"


def write(task: Task) -> None:
    """Writes index PNGs with the label map in both forms. See `tools.export`."""
    (task.out / "masks").mkdir()
    for _, key, mask in task.views("images"):
        if mask is not None:
            png.save_mask(task.out / "masks" / f"{key}.png", mask, task.label_map)
    png.save_label_map(task.out / "labelmap.json", task.label_map)


def require_cvat(label_map: LabelMap) -> LabelMap:
    """The label map as CVAT's masks have it. Raises ValueError, naming another form: they cannot have it."""
    try:
        return label_maps.as_cvat_has_it(label_map)
    except ValueError as error:
        raise ValueError(f"{error}; the form cvat-xml has any names and colours") from error


def write_cvat(task: Task) -> None:
    """Writes CVAT's "segmentation mask 1.1"; the content of the folder is to be zipped.

    Raises ValueError: the colours or names of the classes are not what CVAT can read.
    """
    label_map, extra = require_cvat(task.label_map), task.labels()[task.label_map.num_classes :]
    names = (*label_map.names, *(name for _, name, _ in extra))
    colors = (*label_map.colors, *(color for _, _, color in extra))
    (task.out / _TXT).write_text(label_maps.to_txt(names, colors), encoding="utf-8")
    folders = [task.out / name for name in (CVAT, "SegmentationObject", "ImageSets/Segmentation")]
    for folder in folders:
        folder.mkdir(parents=True)
    keys = []
    for _, key, mask in task.views("JPEGImages"):
        if mask is not None:
            keys.append(key)
            (folders[0] / f"{key}.png").write_bytes(encoding.encode_png(mask, palette=label_map.palette))
            numbered = encoding.encode_png(cvat.objects(mask), palette=label_maps.voc_palette())
            (folders[1] / f"{key}.png").write_bytes(numbered)
    (folders[2] / "default.txt").write_text("".join(f"{key}\n" for key in keys))


def read(folder: Path, paths: Sequence[Path], label_map: LabelMap) -> Iterator[Picture]:
    """The pictures of an export's PNGs: those of SegmentationClass/ or masks/ where there is such a folder, or all.

    Raises ValueError: there are none, or labelmap.txt is damaged.
    """
    pngs = [path for path in paths if path.suffix.lower() == ".png"]
    if (folder / "masks").is_dir() and not any((folder / "masks").iterdir()):
        raise ValueError(f"{folder} has no labels yet: its masks/ is empty")
    chosen = next((name for name in (CVAT, "masks") if any(path.parent.name == name for path in pngs)), None)
    pngs = [path for path in pngs if chosen is None or path.parent.name == chosen]
    if not pngs:
        raise ValueError(f"{folder} has no PNGs of labels")
    txt = [path for path in paths if path.name.lower() == _TXT] or [pngs[0].parent / _TXT, pngs[0].parent.parent / _TXT]
    told = next((label_maps.read_txt(path) for path in txt if path.is_file()), None)
    for path in pngs:
        try:
            pixels, palette = png.load_labels(path)
            shapes, size = _shapes(pixels, palette, label_map, told), pixels.shape[:2]
        except ValueError as error:
            if (folder / "labels.txt").is_file() and path == pngs[0]:
                what = "LabelMe, whose labels.txt it has, writes a JSON beside each picture"
                raise ValueError(f"{folder} has no labels yet: {what}") from error
            yield Picture(path.name, None, problem=str(error))
            continue
        nothing = chosen == CVAT and {shape.label.casefold() for shape in shapes} <= {label_maps.BACKGROUND}
        yield Picture(path.name, size, () if nothing else shapes)


def _shapes(
    pixels: np.ndarray,
    palette: np.ndarray | None,
    label_map: LabelMap,
    told: Mapping[str, tuple[int, int, int]] | None,
) -> list[Shape]:
    """A shape for every class in a PNG. Raises ValueError: a colour or an index is of none."""
    nothing = naming.ignore_name(label_map)
    if pixels.ndim == 2 and told is None:
        ids = pixels if palette is None else label_map.read_palette(pixels, palette, "it")
        names = dict(enumerate(label_map.names)) | {LabelMap.IGNORE: nothing}
        return _by_number(label_map.check(ids, "it"), names)
    if pixels.ndim == 2 and palette is None:
        return _by_number(pixels, dict(enumerate(told or {})) | {LabelMap.IGNORE: nothing})
    if palette is not None:
        palette = np.concatenate([palette, np.zeros((256 - len(palette), 3), np.uint8)])
    colors = pixels if palette is None else palette[pixels]
    values = colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    known = dict(zip(label_map.names, label_map.colors, strict=True)) if told is None else told
    names: dict[int, str] = {_value(IGNORE_COLOR): nothing}
    for name, color in known.items():
        if names.get(_value(color), nothing) != nothing:
            raise ValueError(f"the colour {color} is of {names[_value(color)]!r:.100} and of {name!r:.100}")
        names[_value(color)] = name
    return _by_number(values, names)


def _by_number(values: np.ndarray, names: Mapping[int, str]) -> list[Shape]:
    found = np.unique(values).tolist()
    unknown = [value for value in found if value not in names]
    if unknown:
        shown = [f"#{value:06x}" if value > 255 else value for value in unknown]
        raise ValueError(
            f"it has {some(shown)}, {np.isin(values, unknown).sum()} pixels in all, which the label map does not know:"
            " export without smoothing, as PNG, together with labelmap.txt"
        )

    def region(value: int) -> Shape:
        return Shape(names[value], lambda size: values == value)

    return [region(value) for value in found]


def _value(color: tuple[int, int, int]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]
