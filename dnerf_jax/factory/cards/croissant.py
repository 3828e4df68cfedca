"""croissant.json: what machines read of a dataset (Croissant 1.1, JSON-LD), for search engines and `mlcroissant`.

Every tar is a file with its sha256, every kind of file within them a set, and every set the source of records:
"numbers" has those of the views (cameras, latents, splits), "image", "mask" and so on their pictures. A record's key
says which belong together. `mlcroissant` 1.1 opens no JSON within tars: for it, "views" has the same numbers as a text.
There are no dates and addresses in it: whoever publishes a dataset adds datePublished
and url, which the format wants of what is published.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnerf_jax.factory import record, shards
from dnerf_jax.factory.cards.statistics import Statistics, TarFile
from dnerf_jax.factory.description import Description
from dnerf_jax.io import files
from dnerf_jax.ops.messages import some

NAME = "croissant.json"
VERSION = "1.0.0"  # of the dataset: nothing in it changes once it is made
CITATION = (
    "@article{chi2023datasetnerf, title={DatasetNeRF: Efficient 3D-aware Data Factory with Generative Radiance "
    "Fields}, author={Chi, Yu and Zhan, Fangneng and Wu, Sibo and Theobalt, Christian and Kortylewski, Adam}, "
    "journal={arXiv:2311.12063}, year={2023}}"
)
REQUIRED = ("@context", "@type", "conformsTo", "name", "description", "license", "version", "distribution", "recordSet")
_CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_TERMS = (
    "arrayShape citeAs column conformsTo containedIn equivalentProperty extract field fileProperty fileObject fileSet "
    "format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated "
    "replace samplingRate separator source subField transform"
)
# Of the JSON of a view: the type, the shape where it is an array, and what it is.
_NUMBERS = {
    "key": ("sc:Text", None, "Identity and view, joined by _: what the view's files are called."),
    "identity": ("sc:Integer", None, "Which object it shows."),
    "view": ("sc:Integer", None, "Which of the identity's cameras sees it."),
    "split": ("sc:Text", None, "Train, validation, test or the like; an identity is in one of them."),
    "attempt": ("sc:Integer", None, "How many draws of the identity were rejected before."),
    "z": ("sc:Float", "-1", "The latent that the identity was made from."),
    "cam2world": ("sc:Float", "4,4", "OpenCV camera-to-world matrix (x right, y down, z forward), in world units."),
    "intrinsics": ("sc:Float", "3,3", "Pinhole intrinsics, divided by the image size."),
}
_MEANING = {
    "views": "The JSON of a view: what numbers has, and more, as a text.",
    "image": "What the camera sees, 8-bit RGB.",
    "mask": "Class ids, one channel of 8 bits; names and colours are in labelmap.json.",
    "depth_z": "Depth along the optical axis, 0 where empty.",
    "distance": "Distance along the ray, 0 where empty.",
    "normal": "Unit vectors out of the surface in the world frame, zero where empty; NPY.",
    "opacity": "Share of the ray that is stopped.",
    "confidence": "Probability that the semantic branch gives to the label.",
    "logits": "What the semantic branch gives to every class; NPY.",
    "points": "Labelled point cloud of the identity; PLY.",
    "mesh": "Labelled mesh of the identity; PLY.",
}


def write(out: Path, name: str, summary: str, told: Description, counts: Statistics) -> None:
    """Writes croissant.json. name, summary: of the dataset; the rest is what its files say."""
    files.write_json(out / NAME, describe(name, summary, told, counts))


def describe(name: str, summary: str, told: Description, counts: Statistics) -> dict[str, Any]:
    """The content of croissant.json."""
    content = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": name,
        "description": summary,
        "license": str(told.checkpoint.get("license", "")) or "unknown",
        "version": VERSION,
        "citeAs": CITATION,
        "keywords": ["synthetic", "segmentation", "depth", "multi-view", *_class_names(counts)],
        "distribution": [*map(_file, counts.tars), *_sets(told, counts)],
        "recordSet": _record_sets(told),
    }
    check(content)
    return content


def check(content: Mapping[str, Any]) -> None:
    """Raises ValueError if what a dataset has to say is missing or empty, which `mlcroissant` lets pass."""
    missing = [name for name in REQUIRED if not content.get(name)]
    for entry in content.get("distribution") or ():
        wanted = ("contentUrl", "sha256", "contentSize") if entry["@type"] == "cr:FileObject" else ("includes",)
        missing += [f"{entry['@id']}: {name}" for name in (*wanted, "encodingFormat") if not entry.get(name)]
    for records in content.get("recordSet") or ():
        entries = [records, *records.get("field", ())]
        missing += [f"{entry['@id']}: description" for entry in entries if not entry.get("description")]
    if missing:
        raise ValueError(f"{NAME} lacks {some(missing)}: a dataset has to say these of itself")


def _context() -> dict[str, Any]:
    """The vocabulary, as the format prescribes it."""
    named = {term: f"cr:{term}" for term in _TERMS.split()} | {"conformsTo": "dct:conformsTo"}
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "sc": "https://schema.org/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        **named,
    }


def _class_names(counts: Statistics) -> tuple[str, ...]:
    return () if counts.label_map is None else counts.label_map.names


def _file(tar: TarFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": tar.path,
        "name": tar.path,
        "contentUrl": tar.path,
        "contentSize": f"{tar.bytes} B",
        "encodingFormat": "application/x-tar",
        "sha256": tar.sha256,
    }


def _suffixes(told: Description) -> dict[str, tuple[str, str]]:
    """The folder and the suffix of every kind of file that is one of a kind's, by modality; the views' JSON first."""
    kinds = {"views": (shards.VIEWS, record.JSON)}
    kinds |= {name: (shards.VIEWS, form.suffix) for name, form in told.forms.items()}
    objects = [name for name in shards.FOLDERS if name in told.plan.modalities]
    return kinds | {name: (shards.FOLDERS[name], record.OBJECT_SUFFIX[name]) for name in objects}


def _encoding(suffix: str) -> str:
    known = {"png": "image/png", "json": "application/json"}
    return known.get(suffix.rpartition(".")[2], "application/octet-stream")


def _sets(told: Description, counts: Statistics) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}-files",
            "name": f"{name}-files",
            "description": f"The files *.{suffix} in the tars of {folder}.",
            "containedIn": [{"@id": tar.path} for tar in counts.tars if tar.path.startswith(f"{folder}/")],
            "encodingFormat": _encoding(suffix),
            "includes": f"*.{suffix}",
        }
        for name, (folder, suffix) in _suffixes(told).items()
    ]


def _record_sets(told: Description) -> list[dict[str, Any]]:
    numbers = [
        _field(name, kind, text, "views", {"jsonPath": f"$.{name}"}, shape=shape)
        for name, (kind, shape, text) in _NUMBERS.items()
    ]
    sets = [_records("numbers", "What is known of every view, in numbers.", numbers)]
    for name, (_, suffix) in _suffixes(told).items():
        form, kind = told.forms.get(name), "sc:ImageObject" if suffix.endswith(".png") else "sc:Text"
        meaning = _MEANING[name]
        if form is not None and form.scale is not None:
            meaning += f" Numbers are {form.dtype}; times {form.scale:.17g} they are in the unit: {form.unit}."
        key = _field("key", "sc:Text", "What it is called.", name, {"fileProperty": "filename"})
        key["source"]["transform"] = {"regex": r"^(\d+(?:_\d+)?)\."}
        sets.append(_records(name, meaning, [key, _field(name, kind, meaning, name, {"fileProperty": "content"})]))
    return sets


def _records(name: str, text: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    named = [field | {"@id": f"{name}/{field['name']}"} for field in fields]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        "key": {"@id": f"{name}/key"},
        "field": named,
    }


def _field(
    name: str, kind: str, text: str, of: str, extract: Mapping[str, str], *, shape: str | None = None
) -> dict[str, Any]:
    """A field that is taken out of the files of a kind."""
    return {
        "@type": "cr:Field",
        "name": name,
        "description": text,
        "dataType": kind,
        **({} if shape is None else {"isArray": True, "arrayShape": shape}),
        "source": {"fileSet": {"@id": f"{of}-files"}, "extract": dict(extract)},
    }
