"""The card of a dataset: README.md with what Hugging Face reads of it, croissant.json, and a few pictures.

    card.write(out)          after the last shard

All of it is a function of what is in the folder, byte by byte: there are no dates, times, hosts and paths in it. Texts
that come from a checkpoint or a label map are escaped, in the YAML at the top (`quoted`) and in the Markdown
(`escaped`), so they may hold any character. What the sections say is in `card_sections`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnerf_jax.factory import description, shards
from dnerf_jax.factory.cards import card_sections, croissant, samples, statistics
from dnerf_jax.factory.cards.card_sections import escaped
from dnerf_jax.factory.cards.statistics import Statistics
from dnerf_jax.factory.description import Description
from dnerf_jax.factory.loading import load
from dnerf_jax.io import encoding, files
from dnerf_jax.viz import pictures

NAME = "README.md"
PICTURE = "assets/samples.png"
_SHOWN, _SIDE = 8, 128  # identities in the picture, and pixels of each of its parts
# Identifiers of SPDX, in small letters, that Hugging Face knows too.
_LICENSES = (
    r"apache-2\.0|mit|isc|zlib|unlicense|bsd-[23]-clause|mpl-2\.0|gpl-2\.0|[al]?gpl-3\.0|cc0-1\.0|"
    r"cc-by(-sa|-nd|-nc|-nc-sa|-nc-nd)?-4\.0"
)
# Of sizes, as Hugging Face counts them.
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
_SIZES += [(10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**12, "1B<n<10B")]


def write(out: Path) -> None:
    """Writes README.md, croissant.json and assets/samples.png of a finished dataset into its folder.

    Raises ValueError: it is not finished, or damaged.
    """
    told, counts = description.read(out), statistics.collect(out)
    _write_picture(out)
    name, summary = identifier(told), summary_of(told, counts)
    croissant.write(out, name, summary, told, counts)
    sections = card_sections.sections(
        summary, told, counts, statistics.standpoints(out), statistics.agreement(out), PICTURE
    )
    files.write_text(out / NAME, "\n".join([front_matter(told, counts), f"# {escaped(title(told))}", "", *sections]))


def identifier(told: Description) -> str:
    """What the dataset is called where names have no spaces: by generator, semantic branch and seed."""
    origin = [told.checkpoint.get(name) for name in ("fingerprint", "semantic_fingerprint")]
    return "_".join(["dnerf_jax", *(str(part) for part in origin if part), str(told.plan.seed)])


def title(told: Description) -> str:
    """What it is called by people."""
    kind = "Labelled views" if "mask" in told.plan.modalities else "Views"
    return f"{kind} of {told.plan.num_identities:,} identities made by dnerf_jax"


def summary_of(told: Description, counts: Statistics) -> str:
    """What it is, in a sentence or two."""
    plan, side = told.plan, told.image_resolution
    objects = [name for name in shards.FOLDERS if name in plan.modalities]
    classes = "" if counts.label_map is None else f" Labels are of {counts.label_map.num_classes} classes."
    return (
        f"{counts.views:,} synthetic views of {side} x {side} pixels: {plan.num_identities:,} identities, "
        f"{plan.views_per_identity} cameras each, rendered by a 3D generator, with {', '.join(plan.view_modalities)} "
        f"of every view{f' and {chr(32).join(objects)} of every identity' if objects else ''}, cameras and latents."
        + classes
    )


def front_matter(told: Description, counts: Statistics) -> str:
    """The YAML at the top, which Hugging Face reads: licence, tasks, and which files are which split."""
    terms = str(told.checkpoint.get("license", ""))
    lines = ["---", *_license(terms), f"pretty_name: {quoted(title(told))}"]
    tasks = ["image-segmentation"] if "mask" in told.plan.modalities else []
    tasks += ["depth-estimation"] if {"depth_z", "distance"} & set(told.plan.modalities) else []
    lines += ["task_categories:", *(f"- {task}" for task in [*tasks, "image-to-3d"])]
    size = next((name for most, name in _SIZES if counts.views < most), "n>1T")
    lines += ["size_categories:", f"- {size}"]
    lines += ["tags:", *(f"- {tag}" for tag in ("synthetic", "multi-view", "nerf", "webdataset"))]
    lines += ["configs:"]
    for folder in shards.folders(told.plan):
        first = folder == shards.VIEWS
        lines += [f"- config_name: {'default' if first else folder}", *(["  default: true"] if first else [])]
        lines += ["  data_files:"]
        for split in (name for name, found in counts.splits.items() if found.identities):
            lines += [f"  - split: {quoted(split)}", f"    path: {quoted(f'{folder}/{split}-*.tar')}"]
    return "\n".join([*lines, "---", ""])


def quoted(text: str) -> str:
    """A text as a scalar of YAML, whatever characters it has."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text) + '"'


def _license(terms: str) -> Sequence[str]:
    """The licence of the checkpoint, which is that of what it made, as Hugging Face wants it."""
    if not terms:
        return ["license: unknown"]
    if re.fullmatch(_LICENSES, terms.lower()):
        return [f"license: {terms.lower()}"]
    # The name of another is what it begins with, in small letters and digits.
    words = re.sub(r"[^a-z0-9.]+", "-", re.split("[;:,(\n]", terms.lower())[0])[:64].strip("-.")
    return ["license: other", f"license_name: {quoted(words or 'of-the-checkpoint')}", "license_link: README.md"]


def _write_picture(out: Path) -> None:
    """A sheet of image, labels and depth of a few identities; its bytes depend on no font and no zlib of the host."""
    modalities = description.read(out).plan.view_modalities
    dataset = load(out, only=[name for name in ("image", "mask", "depth_z") if name in modalities])
    cells: list[np.ndarray] = []
    chosen = samples.choose(dataset, _SHOWN)
    for place in chosen:
        parts = samples.drawn(dataset, samples.views(dataset, place, 1)[0])
        cells += [samples.thumbnail(picture, _SIDE) for picture in parts.values()]
    columns = len(cells) // len(chosen) * 2
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    with files.atomic_file(out / PICTURE) as temporary:
        temporary.write_bytes(encoding.encode_png(pictures.sheet(rows)))
