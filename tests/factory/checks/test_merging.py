"""Merging classes: ids, colours and probabilities by hand; what is no such file, and what cannot be known."""

import json

import numpy as np
import pytest

from dnerf_jax.factory.checks import merging
from dnerf_jax.factory.record import Form
from dnerf_jax.io import ply
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud

LABELS = LabelMap(("background", "skin", "eye", "hair"), ((0, 0, 0), (9, 1, 1), (9, 2, 2), (9, 3, 3)))
FORMS = {
    "mask": Form("mask.png", "uint8"),
    "confidence": Form("confidence.png", "uint16", 1 / 65535),
    "logits": Form("logits.npy", "float16"),
}


def test_new_classes_are_in_the_order_of_the_old_ones():
    made = merging.merge(LABELS, {"hair": "head", "skin": "head"})
    assert made.label_map == LabelMap(("background", "head", "eye"), ((0, 0, 0), (9, 1, 1), (9, 2, 2)))
    assert made.table[[0, 1, 2, 3, 255]].tolist() == [0, 1, 2, 1, 255]
    assert made.classes == {"background": "background", "skin": "head", "eye": "eye", "hair": "head"}
    # One that is there already may be joined, and one may get another name alone.
    assert merging.merge(LABELS, {"eye": "skin"}).label_map.names == ("background", "skin", "hair")
    assert merging.merge(LABELS, {"eye": "iris"}).label_map.names == ("background", "skin", "iris", "hair")


def test_confidence_is_the_sum_of_probabilities():
    made = merging.merge(LABELS, {"hair": "head", "skin": "head"})
    shares = np.array([[[0.1, 0.35, 0.2, 0.35], [0.5, 0.3, 0.05, 0.15]]])
    logits = (np.log(shares) + 7).astype(np.float16)
    found = merging.merge_numbers(made, FORMS, {"mask": np.array([[3, 0]], np.uint8), "logits": logits})
    assert found["mask"].tolist() == [[1, 0]] and found["mask"].dtype == np.uint8
    np.testing.assert_allclose(found["confidence"] / 65535, [[0.7, 0.5]], atol=2e-3)
    again = np.exp(found["logits"].astype(np.float64))
    np.testing.assert_allclose(again / again.sum(-1, keepdims=True), [[[0.1, 0.7, 0.2], [0.5, 0.45, 0.05]]], atol=5e-3)
    assert {name: array.dtype.name for name, array in found.items()} == {n: form.dtype for n, form in FORMS.items()}
    # A mask alone needs no logits, and logits that are huge do not overflow.
    assert merging.merge_numbers(made, {"mask": FORMS["mask"]}, {"mask": np.full((2, 2), 255, np.uint8)})["mask"].all()
    huge = np.full((1, 1, 4), -60_000, np.float16)
    huge[..., 3] = 60_000
    numbers = {"mask": np.full((1, 1), 3, np.uint8), "logits": huge}
    with np.errstate(all="raise", under="ignore"):
        found = merging.merge_numbers(made, FORMS, numbers)
    assert found["confidence"].item() == 65535 and np.isfinite(found["logits"]).all()


def test_objects_keep_all_but_their_labels():
    made = merging.merge(LABELS, {"hair": "head", "skin": "head"})
    draws = np.random.default_rng(0)
    points, colors = draws.normal(size=(5, 3)).astype(np.float32), draws.integers(0, 256, (5, 3))
    labels = np.array([0, 1, 2, 3, 255])
    cloud = PointCloud(points, colors, labels, LABELS, normals=points, confidence=np.linspace(0, 1, 5))
    data = merging.merge_object(made, "points", ply.encode_cloud(cloud, metres_per_unit=0.5), metres_per_unit=0.5)
    found = ply.decode_cloud(data)
    assert found.labels.tolist() == [0, 1, 2, 1, 255] and found.label_map == made.label_map
    assert found.confidence is None and b"metres_per_unit 0.5" in data
    np.testing.assert_array_equal(found.points, points)
    np.testing.assert_array_equal(found.normals, points)
    mesh = Mesh(points, np.array([[0, 1, 2]]), colors.astype(np.uint8), labels.astype(np.uint8), LABELS)
    data = merging.merge_object(made, "mesh", ply.encode_mesh(mesh), metres_per_unit=None)
    found = ply.decode_mesh(data)
    assert found.labels.tolist() == [0, 1, 2, 1, 255] and found.label_map == made.label_map
    np.testing.assert_array_equal(found.faces, mesh.faces)


def test_what_is_no_such_file_is_refused(tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"hair": "head"}))
    assert merging.load(path) == {"hair": "head"}
    for wrong in ("{}", '{"hair": 3}', '{"hair": ["head"]}', "[]", '{"hair": "a", "hair": "b"}'):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="names.json"):
            merging.load(path)
    with pytest.raises(ValueError, match="there is no class 'hari'; did you mean 'hair'"):
        merging.merge(LABELS, {"hari": "head"})
    with pytest.raises(ValueError, match="names must be non-empty"):
        merging.merge(LABELS, {"hair": " "})


def test_a_history_is_what_it_should_be_or_refused(tmp_path):
    assert merging.history({}, tmp_path) is None
    steps = [{"hair": "head"}, {"head": "top"}]
    assert merging.history({"relabelled_from": {"checkpoint": {}, "classes": steps}}, tmp_path) == steps
    for wrong in (3, [], {}, {"classes": None}, {"classes": ["hair"]}, {"classes": [{"hair": 3}]}):
        with pytest.raises(ValueError, match=f"{tmp_path}: relabelled_from"):
            merging.history({"relabelled_from": wrong}, tmp_path)
