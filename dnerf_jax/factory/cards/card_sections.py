"""What a dataset's card says, section by section, in Markdown."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dnerf_jax.factory import shards
from dnerf_jax.factory.cards.statistics import Standpoints, Statistics
from dnerf_jax.factory.description import FRAME, RELABELLED, Description
from dnerf_jax.factory.plan import Drops, Plan
from dnerf_jax.factory.runs.space import said

_DISTRIBUTIONS = {
    "uniform": "yaws one in each of equal parts of ±{yaw:g}°, pitches uniform within ±{pitch:g}°",
    "gaussian": "Gaussian yaws and pitches of standard deviations {yaw:g}° and {pitch:g}°, within three of them",
    "orbit": "yaws evenly from -{yaw:g}° to {yaw:g}°, at a pitch of {pitch:g}°",
    "trajectory": "once around an ellipse of the half axes {yaw:g}° (yaw) and {pitch:g}° (pitch)",
    "fixed": "a list of cameras, the same for every identity",
}
_LOADING = """
In this folder, with Hugging Face's `datasets`, streaming or not (`folder` may be a name on the Hub):

```python
import os
from datasets import load_dataset

folder = os.getcwd()
data = load_dataset(folder, split="{split}", streaming=True)
view = next(iter(data))  # {columns}
```

With `webdataset`, whose own decoders would make 8-bit RGB of masks and 16-bit depth:

```python
import glob, io
import numpy as np, webdataset
from PIL import Image

def decode(key, data):
    return np.asarray(Image.open(io.BytesIO(data))) if key.endswith(".png") else None

data = webdataset.WebDataset(sorted(glob.glob(f"{{folder}}/data/{split}-*.tar")), shardshuffle=False).decode(decode)
view = next(iter(data))
```

With Grain, in any order, and with `dnerf_jax` alone, in NumPy and in units:

```python
import grain
from dnerf_jax import factory

data = factory.load(folder, split="{split}")
view = data[0]  # {record}
batch = grain.MapDataset.source(data).shuffle(seed=0).batch(8)[0]
```

Other forms (TFDS, COCO, CVAT, COLMAP, transforms.json, plain folders): `python -m dnerf_jax.export --dataset DIR`.
"""


def sections(
    summary: str,
    told: Description,
    counts: Statistics,
    standpoints: Standpoints,
    agreement: Mapping[str, Any] | None,
    picture: str,
) -> list[str]:
    """The card below its title: what is told of the dataset, and measured in it. picture: the path of the samples."""
    terms = str(told.checkpoint.get("license", ""))
    return [
        f"{escaped(summary)}\n\n![Samples: {', '.join(_shown(told.plan))}]({picture})\n",
        *_section("Splits", _splits(counts)),
        *_section("What a view has", _modalities(told)),
        *_section("Classes", _classes(counts, agreement)),
        *_section("Consistency in 3D", _consistency(agreement)),
        *_section("Cameras", _cameras(told.plan, standpoints)),
        *_section("How identities were drawn", _draws(told, counts)),
        *_section("Loading", _loading(told, counts)),
        *_section("Frame and units", _units(told)),
        *_section("Provenance", _provenance(told, counts)),
        *_section("Verifying", _verifying()),
        *_section("Limits", _limits(told)),
        *_section("Licence", f"Of the checkpoint, and of what it made: {escaped(terms) or 'unknown; ask its origin'}."),
    ]


def escaped(text: str) -> str:
    """A text on one line of Markdown, in a table too, that shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&])", r"\\\1", " ".join(text.split()))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """A table of cells of Markdown. numbers: all columns but the first have some, and are aligned to the right."""
    lines = [columns, ["---", *["---:" if numbers else "---"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "–" if share is None else f"{100 * share:.2f} %"


def _section(name: str, text: str) -> list[str]:
    return [f"## {name}", "", text.strip(), ""] if text else []


def _shown(plan: Plan) -> list[str]:
    return [name for name in ("image", "mask", "depth_z") if name in plan.modalities]


def _first(counts: Statistics) -> str:
    """The first split that has anything, train by custom."""
    return next(name for name, found in counts.splits.items() if found.identities)


def _splits(counts: Statistics) -> str:
    rows = [
        [f"`{name}`", f"{found.identities:,}", f"{found.views:,}", f"{found.shards:,}", said(found.bytes)]
        for name, found in counts.splits.items()
    ]
    text = "No identity is in two splits."
    return f"{table(['split', 'identities', 'views', 'shards', 'size'], rows)}\n\n{text}"


def _modalities(told: Description) -> str:
    side = told.image_resolution
    rows = []
    for name, form in told.forms.items():
        scale = "" if form.scale is None else f"{form.scale:.9g}"
        rows.append([f"`{name}`", f"`KEY.{form.suffix}`", form.dtype, scale, form.unit or ""])
    for name, what in (("points", "cloud.ply"), ("mesh", "mesh.ply")):
        if name in told.plan.modalities:
            rows.append([f"`{name}`", f"`IDENTITY.{what}` in {shards.FOLDERS[name]}/", "", "", "world unit"])
    text = (
        f"Pictures have {side} x {side} pixels. Numbers times the scale are in the unit; depth is 0 where a pixel is "
        "empty. `KEY.json` has z, cam2world and intrinsics. Keys are an identity and a view: `00000012_03`."
    )
    return f"{table(['modality', 'file', 'type', 'scale', 'unit'], rows, numbers=False)}\n\n{text}"


def _classes(counts: Statistics, agreement: Mapping[str, Any] | None) -> str:
    if counts.label_map is None:
        return ""
    name = _first(counts)
    found, rows = counts.splits[name], []
    for index, label in enumerate(counts.label_map.names):
        row = [escaped(label), str(index), "`#{:02x}{:02x}{:02x}`".format(*counts.label_map.colors[index])]
        row += [percent(found.shares[index]), percent(found.showing[index] / max(found.views, 1))]
        rows.append(row + ([] if agreement is None else [percent(agreement["per_class"][label])]))
    columns = ["class", "id", "colour", f"pixels ({name})", f"views ({name})"]
    return table(columns + ([] if agreement is None else ["agreement in 3D"]), rows)


def _consistency(agreement: Mapping[str, Any] | None) -> str:
    if agreement is None:
        return ""
    rows = [
        [f"{of['from']:g}° to {of['to']:g}°", percent(of["agreement"]), f"{of['pixels']:,}"]
        for of in agreement["by_angle"]
        if of["pixels"]
    ]
    text = (
        f"Labels of one view, warped by depth and cameras into the others of its identity, are the same on "
        f"**{percent(agreement['agreement'])}** of the {agreement['pixels']:,} pixels that both see "
        f"({agreement['identities']:,} identities were compared). At the borders of classes the nearest pixel may be "
        "of the other class even where labels are exact; background is compared only where it has depth, at outlines."
    )
    return f"{text}\n\n{table(['angle between the views', 'agreement', 'pixels'], rows)}"


def _cameras(plan: Plan, standpoints: Standpoints) -> str:
    chosen = plan.viewpoints
    rows = []
    for name, values in (
        ("yaw (degrees)", standpoints.yaw),
        ("pitch (degrees)", standpoints.pitch),
        ("distance from the origin (world units)", standpoints.distance),
    ):
        numbers = values.min(), values.mean(), values.max(), values.std()
        rows.append([name, *(f"{number:.2f}".replace("-0.00", "0.00") for number in numbers)])
    text = _DISTRIBUTIONS[chosen.distribution].format(yaw=chosen.yaw, pitch=chosen.pitch)
    measured = f"Measured in {len(standpoints.positions):,} views:"
    columns = ["", "least", "mean", "greatest", "standard deviation"]
    return f"{chosen.distribution}: {text}. {measured}\n\n{table(columns, rows)}"


def _draws(told: Description, counts: Statistics) -> str:
    plan = told.plan
    text = f"Latents are normal, truncated by psi = {plan.truncation_psi:g} (1 is not at all)."
    if told.num_poses:
        of = "view v is in frame v" if plan.poses.order == "frames" else "one is drawn for each identity"
        text += (
            f" Bodies are in the {told.num_poses:,} poses of poses.json: {of}; `pose` in a view's JSON is the number."
        )
    if plan.drops == Drops(attempts=plan.drops.attempts):
        return f"{text} No rule drops any."
    dropped = sum(counts.drops.values())
    text += (
        f" By the rules of the plan (`drops` in dataset.json) {dropped:,} draws were dropped, of {counts.redrawn:,} "
        "identities, and drawn anew; the sidecars name them."
    )
    rows = [[escaped(rule), f"{number:,}"] for rule, number in counts.drops.items()]
    return f"{text}\n\n{table(['rule', 'draws dropped'], rows)}" if rows else text


def _loading(told: Description, counts: Statistics) -> str:
    columns = ", ".join(f'"{form.suffix}"' for form in told.forms.values())
    names = ", ".join(f'"{name}"' for name in (*told.forms, "cam2world", "intrinsics", "z"))
    return _LOADING.format(split=_first(counts), columns=f'{columns}, "json"', record=names)


def _units(told: Description) -> str:
    box, metres = told.content.get("box_side"), told.content.get("metres_per_unit")
    return f"{FRAME} Here box\\_side is {box}, metres\\_per\\_unit {'null' if metres is None else metres}."


def _provenance(told: Description, counts: Statistics) -> str:
    origin, plan = told.checkpoint, told.plan
    rows = [
        ["generator", f"`{origin.get('fingerprint')}`"],
        ["semantic branch", f"`{origin.get('semantic_fingerprint')}`"],
        *([escaped(name), escaped(str(text))] for name, text in origin.items() if not name.endswith("fingerprint")),
        *_before(told),
        ["seed", str(plan.seed)],
        ["batch, memory", f"{plan.batch}, {plan.memory_mib} MiB"],
    ]
    rows += [[f"stack of {number:,} shards", escaped(stack)] for stack, number in counts.stacks.items()]
    head = (
        "A dataset is a function of the checkpoint, the plan (dataset.json) and the index. Within a stack it is the "
        "same byte by byte, however it was made; across stacks pixels may differ in their last bit."
    )
    return f"{head}\n\n{table(['', ''], rows, numbers=False)}"


def _before(told: Description) -> list[list[str]]:
    """Of a dataset whose labels were made anew, what they were before."""
    before = told.content.get(RELABELLED)
    if not before:
        return []
    merged = [f"{old} → {new}" for names in before["classes"] for old, new in names.items() if old != new]
    rows = [["relabelled; the branch before", f"`{before['checkpoint'].get('semantic_fingerprint')}`"]]
    return rows + ([["classes with another name", escaped(", ".join(merged))]] if merged else [])


def _verifying() -> str:
    return (
        "`python -m dnerf_jax.verify --dataset DIR` looks at every file: sums, gaps, splits, pixels, cameras. With "
        "`--checkpoint` it renders a random subset again, from provenance alone. Beside every tar a JSON file has its "
        "sha256, the place of every member, and hashes of the decoded pixels."
    )


def _limits(told: Description) -> str:
    points = ["Everything is synthetic: what the generator cannot make is not in it."]
    if "mask" in told.plan.modalities:
        points.append("Labels are what a semantic branch predicts, not what a person drew.")
    points.append("Where no camera of its training stood, behind a head say, the generator shows what it made up.")
    if told.plan.truncation_psi != 1:
        points.append("Truncation makes identities more alike than those that the generator learned.")
    for name in ("depth_z", "distance"):
        form = told.forms.get(name)
        if form is not None and form.scale is not None:
            points.append(f"`{name}` is in steps of {form.scale:.3g} world units.")
    points.append("There is no date and no address in croissant.json: who publishes adds datePublished and url.")
    return "\n".join(f"- {point}" for point in points)
