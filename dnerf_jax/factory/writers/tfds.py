"""TensorFlow Datasets: ArrayRecord files that `tfds.builder_from_directory(out)` reads; no TensorFlow is needed.

image is a PNG. mask is a greyscale PNG of class ids, since TensorFlow makes greys of a palette's colours. All else is
a compressed tensor: what has a scale in the source is float32 in its unit here, since TFDS without OpenCV opens no PNG
of 16 bits. There is one file for each shard of the source, with groups of one record, which random access needs.
`builder.info.features["mask"].names` are the classes; `builder.info.metadata` has the source's dataset.json
("description") and the label map ("labelmap").
"""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.factory import record
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.plan import range_of
from dnerf_jax.factory.writers.streaming import View, require_labels, views
from dnerf_jax.io import encoding, files

NAME = "dnerf"  # of the dataset, in the names of its files
_CHANNELS: dict[str, tuple[int | None, ...]] = {"normal": (3,), "logits": (None,)}


def write(dataset: Dataset, out: Path) -> None:
    """Writes the ArrayRecord files of every split, and what TFDS tells of them. See `exporting.export`."""
    try:
        import tensorflow_datasets as tfds
        from array_record.python.array_record_module import ArrayRecordWriter
    except ImportError as error:
        raise ImportError("the form tfds needs TensorFlow Datasets: pip install dnerf_jax[tfds]") from error
    plan, infos = dataset.plan, []
    features = _features(tfds.features, dataset)
    serializer = tfds.core.example_serializer.ExampleSerializer(features.get_serialized_info())
    for split, members in itertools.groupby(views(dataset), key=lambda view: view.own["split"]):
        lengths, size = [], 0
        count = math.ceil(len(range_of(plan, split)) / plan.shard_size)
        for number in range(count):
            path = out / f"{NAME}-{split}.array_record-{number:05d}-of-{count:05d}"
            writer = ArrayRecordWriter(str(path), "group_size:1")
            lengths.append(0)
            for view in itertools.islice(members, plan.shard_size * plan.views_per_identity):
                example = serializer.serialize_example(_example(view))
                writer.write(example)
                lengths[-1], size = lengths[-1] + 1, size + len(example)
            writer.close()
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size))
    description = dataset.description
    tfds.folder_dataset.write_metadata(
        data_dir=str(out),
        features=features,
        split_infos=infos,
        version="1.0.0",
        check_data=False,  # which would take TensorFlow
        description=f"Rendered views with labels, made by dnerf_jax. {description.content['frame']}",
        redistribution_info={"license": str(description.checkpoint.get("license", "unknown"))},
        metadata=tfds.core.MetadataDict(
            description=dict(description.content),
            labelmap=files.parse_json(dataset.label_map.to_json()) if dataset.label_map else None,
        ),
    )


def _features(features: Any, dataset: Dataset) -> Any:
    """What a record has, in the terms of TFDS."""
    side = dataset.description.image_resolution
    found = {
        "key": features.Text(doc="identity and view: 00000012_03"),
        "identity": features.Scalar(np.int64),
        "view": features.Scalar(np.int64),
        "z": features.Tensor(shape=(None,), dtype=np.float32, doc="latent"),
        "cam2world": features.Tensor(shape=(4, 4), dtype=np.float32, doc="OpenCV camera-to-world"),
        "intrinsics": features.Tensor(shape=(3, 3), dtype=np.float32, doc="divided by the image size"),
    }
    for name, form in dataset.forms.items():
        if name == "image":
            found[name] = features.Image(shape=(side, side, 3), encoding_format="png")
        elif name == "mask":
            labels = list(require_labels(dataset).names)
            found[name] = features.LabeledImage(labels=labels, shape=(side, side, 1), encoding_format="png")
        else:
            shape, dtype = (side, side, *_CHANNELS.get(name, ())), np.dtype("float32" if form.scale else form.dtype)
            found[name] = features.Tensor(shape=shape, dtype=dtype, encoding="zlib", doc=form.unit)
    return features.FeaturesDict(found)


def _example(view: View) -> dict[str, Any]:
    """A record as it is stored."""
    from isal import isal_zlib

    example = {name: view.own[name] for name in ("key", "identity", "view", "z", "cam2world", "intrinsics")}
    for name, form in view.forms.items():
        if name == "image":
            example[name] = view.file(name)
        elif name == "mask":
            example[name] = encoding.encode_png(view.numbers(name))
        else:
            example[name] = isal_zlib.compress(record.restored(form, view.numbers(name)).tobytes(), 1)
    return example
