"""Labels out to a label tool and back in: one form of FORMS out, whatever it is in.

What comes in is all or nothing for each view: names, sizes and shapes are checked first, and what does not fit leaves
the view as it was and is told. Masks are replaced one by one, each whole.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files, label_folders, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling import coco, cvat_xml, drawn, label_pngs, label_studio, labelme, naming, sources
from dnerf_jax.labelling.drawn import Picture
from dnerf_jax.labelling.giving_out import Task
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import count, some

GROUNDS = {"background": 0, "ignore": LabelMap.IGNORE}


@dataclasses.dataclass(frozen=True)
class Form:
    """A form that labels are given out in.

    Attributes:
      text: what to do with it, in a line.
      write: fills the folder of a Task.
    """

    text: str
    write: Callable[[Task], None]


FORMS = {
    "cvat": Form('CVAT: zip what is in it, upload it as "segmentation mask 1.1"', label_pngs.write_cvat),
    "cvat-xml": Form('CVAT: images/ for a task, annotations.xml for it as "CVAT 1.1"; polygons', cvat_xml.write),
    "labelme": Form("LabelMe: open the folder, with --labels labels.txt; polygons", labelme.write),
    "label-studio": Form("Label Studio: config.xml, tasks.json, images/ as local files; brushes", label_studio.write),
    "coco": Form("COCO: panoptic.json, and instances.json as run lengths", coco.write),
    "png": Form(
        "masks/ of what is labelled: PNGs of ids, of the pictures' names, in the classes' colours, for any editor that"
        " keeps palettes",
        label_pngs.write,
    ),
}


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of an import.

    Attributes:
      imported: views whose masks were written, or would be. same: views whose masks are what they were.
      empty: pictures that nothing was drawn on; they are left as they were.
      refused: reasons by the pictures' names.
      names: a line for every name of the tool, "Hair -> 4 hair".
      left_out: what was drawn without area and left out, by the pictures' names.
    """

    imported: tuple[int, ...]
    same: tuple[int, ...]
    empty: tuple[str, ...]
    refused: Mapping[str, str]
    names: tuple[str, ...]
    left_out: Mapping[str, str]

    def tell(self) -> int:
        """Prints it; the status for the shell, 1 where a picture was refused."""
        for line in self.names:
            print(line)
        for name, what in self.left_out.items():
            print(f"left out of {name}: {what}")
        if self.empty:
            print(f"left as it was, since nothing is drawn on it: {some(self.empty)}")
        if self.same:
            print(f"labelled so already: {count(len(self.same), 'view')}")
        for name, reason in self.refused.items():
            print(f"not imported: {name}: {reason}")
        left = f", not imported: {count(len(self.refused), 'picture')}" if self.refused else ""
        print(f"labelled anew: {count(len(self.imported), 'view')}{left}")
        return int(bool(self.refused))


def export(labels: Path, to: str, out: Path) -> Annotations:
    """Writes a pack's pictures and labels in a form into a new folder, whole or not at all; returns the pack.

    Raises ValueError: there is no such form or pack, `out` has content, or lies in the pack.
    """
    if to not in FORMS:
        known = "".join(f"\n  {name:14} {form.text}" for name, form in FORMS.items())
        raise ValueError(f"there is no form {to!r:.50}: known are{known}")
    pack = packs.load(labels, unlabelled=True)
    if labels.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"{out} is in the pack {labels}: name a folder elsewhere")
    with files.atomic_folder(out) as folder:
        FORMS[to].write(Task(pack, labels, folder))
    return pack


def bring_in(
    path: Path,
    labels: Path,
    *,
    told: Mapping[str, str] | None = None,
    ground: str = "background",
    replace: bool = False,
    skip_lines: bool = False,
) -> Report:
    """Reads what a label tool exported, and writes the masks of those views that it is right for.

    Args:
      path: a file, folder or zip. labels: the pack's folder.
      told: class names, or "ignore", by the tool's names, where they differ.
      ground: what pixels are that nothing covers: "background", as tools mean it, or "ignore".
      replace: views that are labelled already may get other labels.
      skip_lines: shapes without area are left out; otherwise a picture that has any is refused.

    Raises ValueError: the export cannot be read at all; there is no such pack or ground; `told` names no class.
    """
    if ground not in GROUNDS:
        raise ValueError(f"rest is {ground!r:.50}, expected one of {some(GROUNDS)}")
    pack = packs.load(labels, unlabelled=True)
    names, done = naming.Names(pack.label_map, told), label_folders.has_labels(pack)
    made: dict[int, np.ndarray] = {}
    refused: dict[str, str] = {}
    left_out: dict[str, str] = {}
    same, empty, seen = [], [], {}
    with sources.opened(path) as (folder, found):
        for picture in pictures(folder, found, pack.label_map):
            try:
                index = naming.index_of(pack, picture.name)
                if index in seen:
                    made.pop(index, None)
                    refused[seen[index]] = f"{picture.name} is of the same view, {index}: neither is taken"
                    raise ValueError(f"{seen[index]} is of the same view, {index}: neither is taken")
                seen[index] = picture.name
                if picture.without_area and not skip_lines:
                    what = some(picture.without_area, 4)
                    raise ValueError(f"it has {what}, which has no area: remove it, or leave it out with --skip_lines")
                if picture.without_area:
                    left_out[picture.name] = some(picture.without_area, 4)
                if not picture.shapes and not picture.problem:
                    empty.append(picture.name)
                    continue
                rest = LabelMap.IGNORE if picture.void else GROUNDS[ground]
                mask = drawn.paint(picture, names, (pack.resolution, pack.resolution), rest)
                if (mask == pack.masks[index]).all():
                    same.append(index)
                elif done[index] and not replace:
                    raise ValueError(f"view {index} has other labels already: give --replace to take these instead")
                else:
                    made[index] = mask
            except ValueError as error:
                refused[picture.name] = str(error).replace(f"{folder}/", "")
    for index, mask in sorted(made.items()):
        label_folders.write_mask(labels, index, mask, pack.label_map)
    return Report(tuple(sorted(made)), tuple(same), tuple(empty), refused, tuple(names.told()), left_out)


def pictures(folder: Path, found: list[Path], label_map: LabelMap) -> Iterator[Picture]:
    """The pictures of an export's files, whatever form it is in: XML, JSON, or PNGs where there is neither.

    Raises ValueError: it is of none that is known, or of several at once.
    """
    described = [path for path in found if path.suffix.lower() == ".xml" and path.name != "config.xml"]
    parsed = {path: _parse(path) for path in found if path.suffix.lower() == ".json" and path.name != "labelmap.json"}
    files_of_kind: dict[str, list[Path]] = {"xml": described} if described else {}
    for path, content in parsed.items():
        files_of_kind.setdefault(_kind(content), []).append(path)
    nothing = files_of_kind.pop("", [])
    if len(files_of_kind) > 1:
        each = (f"{kind} in {some(path.name for path in paths)}" for kind, paths in files_of_kind.items())
        raise ValueError(f"{folder} has labels in several forms, {some(each)}: name the one file to import")
    if nothing and not files_of_kind:
        names = some(path.name for path in nothing)
        raise ValueError(
            f"{names} has labels in no form that is known: expected what LabelMe, Label Studio (JSON, not JSON-MIN) or"
            " COCO write, CVAT's XML, or PNGs"
        )
    if not files_of_kind:
        yield from label_pngs.read(folder, found, label_map)
    for path in files_of_kind.get("xml", []):
        yield from cvat_xml.read(path)
    readers = {"panoptic": coco.read, "instances": coco.read, "labelme": _labelme, "label-studio": _label_studio}
    for kind, read in readers.items():
        for path in files_of_kind.get(kind, []):
            yield from read(path, parsed[path])


def _labelme(path: Path, content: Any) -> Iterator[Picture]:
    yield labelme.read(path, content)


def _label_studio(path: Path, content: Any) -> Iterator[Picture]:
    yield from label_studio.read(content)


def _parse(path: Path) -> Any:
    return files.read_json(path, "JSON of a label tool", kind=object)


def _kind(content: Any) -> str:
    """Whose JSON it is, or ""."""
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return "labelme"
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
        return "panoptic" if "segments_info" in str(content["annotations"])[:2000] else "instances"
    return "label-studio" if isinstance(content, list) and content else ""
