"""Networks on the disk that are no generators: those that come with the package, by name, and folders.

    network.json    schema version, kind, configuration, dtype, info, fingerprint
    weights.npz     the parameters by their paths, "network/conv1/kernel" say
    LICENSE         the text under which the weights were published, where it is known

Arrays are float32 or float16. As "int8", matrices and kernels are whole numbers from -127 to 127 times one float32 per
output channel, which lies beside them as "network/conv1/kernel:scale"; all else is float16. In memory all are float32.
The fingerprint is of what is read, so that damage is noticed. Nothing in a folder is executed.

    kind          what it is                                          made by
    perception    how different two images look (`loss_networks`)     converters
    identity      whether two faces are the same (`loss_networks`)    converters
    classifier    a ResNet or EfficientNet that names objects,        converters.torchvision, converters.efficientnet,
                  or a ViT's features                                 converters.dinov2
    segmenter     a DeepLabV3 that labels pixels                      converters.torchvision, dnerf_jax.downstream
    points        a PointNet that labels points                       dnerf_jax.downstream
    images        a StyleGAN2 of a latent and a camera                dnerf_jax.datasetgan
    pixels        an ensemble that labels its pixels                  dnerf_jax.datasetgan
"""

import dataclasses
import os
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dnerf_jax.io import arrays, files, schema
from dnerf_jax.models import (
    classifiers,
    identity,
    image_generators,
    perception,
    pixel_labellers,
    point_segmenters,
    segmenters,
)
from dnerf_jax.models.classifiers import Classifier, ClassifierConfig
from dnerf_jax.models.identity import Identity, IdentityConfig
from dnerf_jax.models.image_generators import ImageGenerator, ImageGeneratorConfig
from dnerf_jax.models.model import fingerprint
from dnerf_jax.models.perception import Perception, PerceptionConfig
from dnerf_jax.models.pixel_labellers import PixelLabeller, PixelLabellerConfig
from dnerf_jax.models.point_segmenters import PointSegmenter, PointSegmenterConfig
from dnerf_jax.models.segmenters import Segmenter, SegmenterConfig
from dnerf_jax.ops.messages import some

SCHEMA_VERSION = 1
MARKER = "network.json"
DTYPES = ("float32", "float16", "int8")
Network = Perception | Identity | Classifier | Segmenter | PointSegmenter | ImageGenerator | PixelLabeller
_KINDS: dict[str, tuple[type, type, Any]] = {
    "perception": (Perception, PerceptionConfig, perception),
    "identity": (Identity, IdentityConfig, identity),
    "classifier": (Classifier, ClassifierConfig, classifiers),
    "segmenter": (Segmenter, SegmenterConfig, segmenters),
    "points": (PointSegmenter, PointSegmenterConfig, point_segmenters),
    "images": (ImageGenerator, ImageGeneratorConfig, image_generators),
    "pixels": (PixelLabeller, PixelLabellerConfig, pixel_labellers),
}
_FIELDS = {"kind": str, "config": dict, "dtype": str, "info": dict, "fingerprint": str}
_SCALE = ":scale"
_LARGEST = 1 << 30  # bytes of parameters in memory: VGG16 has 59 MB, IR-SE50 175, DeepLabV3 of ResNet-101 244


def save(
    path: str | os.PathLike,
    network: Network,
    *,
    info: dict[str, str],
    license_text: str | None = None,
    dtype: str = "float32",
    replace: bool = False,
) -> None:
    """Writes a network's folder, whole or not at all.

    Args:
      path: the folder; must not have content unless `replace`.
      info: of the weights: "origin", "origin_sha256", "license", ...
      license_text: what the file LICENSE will say.
      dtype: of the arrays on disk, one of DTYPES; see above.

    Raises ValueError: there is no such dtype, parameters are not finite in it, or the folder has content already.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r:.50}, expected one of {', '.join(DTYPES)}")
    kind = next(kind for kind, (cls, *_) in _KINDS.items() if isinstance(network, cls))
    flat = traverse_util.flatten_dict(network.params, sep="/")
    stored: dict[str, np.ndarray] = {}
    for name, value in flat.items():
        stored |= _stored(name, np.asarray(value, np.float32), dtype)
    if not all(np.isfinite(value).all() for value in stored.values()):
        raise ValueError(f"The network's arrays are not all finite as {dtype}; save them as float32, or convert anew.")
    description = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "config": dataclasses.asdict(network.config),
        "dtype": dtype,
        "info": info,
        "fingerprint": fingerprint({name: _restored(name, stored) for name in flat}),
    }
    with files.atomic_folder(path, replace=replace) as folder:
        np.savez_compressed(folder / "weights.npz", **stored)  # type: ignore[arg-type]
        files.write_json(folder / MARKER, description, indent=2)
        if license_text is not None:
            files.write_text(folder / "LICENSE", license_text)


def describe(path: str | os.PathLike) -> dict[str, str]:
    """What a network's folder, or the embedded one of that name, records of its origin and licence."""
    return _description(_folder(path) / MARKER)["info"]


def load(path: str | os.PathLike, *kinds: str) -> Any:
    """The network in a folder, or the embedded one of that name, of one of these kinds.

    Raises ValueError, naming the file: there is none, it is of another kind or a newer schema, or damaged.
    """
    folder = _folder(path)
    description = _description(folder / MARKER)
    if (kind := description["kind"]) not in kinds:
        raise ValueError(f"{folder} is a network of the kind {kind!r:.50}, expected {some(map(repr, kinds))}")
    _, cls, module = _KINDS[kind]
    source = f"{folder / MARKER}: config"
    config = schema.as_dataclass(description["config"], cls, source)
    try:
        template = module.abstract(config)
    except Exception as error:  # sizes that fit each other nowhere fail anywhere
        raise ValueError(f"{source}: no network can be built of these sizes ({error!s:.300})") from error
    shapes = traverse_util.flatten_dict(template.params, sep="/")
    if sum(4 * leaf.size for leaf in shapes.values()) > _LARGEST:
        raise ValueError(f"{source}: the network would be larger than {_LARGEST >> 20} MiB; is the file damaged?")
    stored = arrays.load_arrays(folder / "weights.npz")
    found = {name for name in stored if not name.endswith(_SCALE)}
    if found != set(shapes):
        odd = sorted(found ^ set(shapes))
        raise ValueError(f"{folder / 'weights.npz'} has other arrays than its configuration needs: {some(odd)}")
    restored = {name: _restored(name, stored) for name in shapes}
    wrong = [f"{name} {restored[name].shape}" for name in shapes if restored[name].shape != shapes[name].shape]
    if wrong:
        raise ValueError(f"{folder / 'weights.npz'} has arrays of other shapes than its configuration: {some(wrong)}")
    if fingerprint(restored) != description["fingerprint"]:
        raise ValueError(f"{folder} was changed or damaged: its fingerprint is another; convert or copy it again")
    params = traverse_util.unflatten_dict({name: jnp.asarray(restored[name]) for name in shapes}, sep="/")
    return template.replace(params=params)


def _stored(name: str, value: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """The arrays that stand for one on the disk."""
    if dtype != "int8":
        return {name: value.astype(dtype)}
    if value.ndim < 2:
        return {name: value.astype(np.float16)}
    scale = np.abs(value).max(axis=tuple(range(value.ndim - 1))) / np.float32(127)
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return {name: np.round(value / scale).astype(np.int8), name + _SCALE: scale}


def _restored(name: str, stored: dict[str, np.ndarray]) -> np.ndarray:
    value = stored[name].astype(np.float32)
    scale = stored.get(name + _SCALE)
    if scale is None:
        return value
    if not value.ndim or scale.shape != value.shape[-1:]:
        raise ValueError(f"the array {name + _SCALE} has shape {scale.shape}, expected {value.shape[-1:]}")
    return value * scale


def _folder(path: str | os.PathLike) -> pathlib.Path:
    folder = files.located(path, MARKER)
    if os.path.isfile(folder / MARKER):
        return folder
    embedded = files.embedded_names(MARKER)
    raise ValueError(
        f"There is no network {str(path)!r}: no folder with {MARKER}, and embedded are {embedded}. `converters` "
        "makes such folders (docs/loss_networks.md, docs/downstream.md)."
    )


def _description(file: pathlib.Path) -> dict[str, Any]:
    description = files.read_json(file, "a network's configuration")
    version = description.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"{file} has schema version {version!r:.50}; this dnerf_jax reads 1 to {SCHEMA_VERSION}")
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(description.get(name), kind)]
    if wrong or not all(isinstance(value, str) for value in description["info"].values()):
        raise ValueError(f"{file} is corrupt: it lacks {wrong or 'texts in info'}, or has them of another kind")
    return description
