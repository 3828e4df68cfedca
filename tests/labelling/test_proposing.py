"""Proposed packs: right in all but their masks, extended without touching what is there, refused by a training."""

import dataclasses

import numpy as np
import pytest

from dnerf_jax import train
from dnerf_jax.io import label_folders, packs, png
from dnerf_jax.labelling import commands, proposing
from dnerf_jax.labelling.proposing import Request
from dnerf_jax.ops.labels import LabelMap


@pytest.fixture(scope="module")
def proposed(tiny_model, tiny_pack, tmp_path_factory):
    """A folder of four views of two latents, and what `propose` returned."""
    path = tmp_path_factory.mktemp("proposed") / "labels"
    return path, proposing.propose(tiny_model, tiny_pack.label_map, Request(num=2, views=2, yaw=20.0), path)


@pytest.mark.slow
def test_all_but_the_masks_is_right(proposed, tiny_model):
    path, made = proposed
    pack = packs.load(path, tiny_model, check=4, unlabelled=True)  # renders all four again
    assert (pack.masks == LabelMap.IGNORE).all() and not label_folders.has_labels(pack).any()
    assert pack.latent_id.tolist() == [0, 0, 1, 1] and pack.name == "labels" and pack.licence == "none"
    np.testing.assert_array_equal(pack.images, made.images)
    forward = pack.cam2world[:, :3, 2]
    yaw = np.degrees(np.arctan2(forward[:, 0], -forward[:, 2]))
    assert (abs(yaw) <= 20.01).all() and (np.sort(abs(yaw)) > 0).all() and yaw[0] * yaw[1] < 0
    np.testing.assert_allclose(forward[:, 1], forward[0, 1], atol=1e-5)  # one pitch


@pytest.mark.slow
def test_more_views_leave_labels_as_they_are(proposed, tiny_model, tiny_pack, tmp_path):
    path, _ = proposed
    packs.save(tmp_path / "labels", packs.load(path, unlabelled=True), unlabelled=True)
    path = tmp_path / "labels"
    mask = np.full((16, 16), 255, np.uint8)
    mask[6:10, 6:10] = 2
    label_folders.write_mask(path, 1, mask, tiny_pack.label_map)
    (path / "notes.txt").write_text("mine")
    before = {file: file.read_bytes() for file in path.rglob("*.png")}
    request = Request(num=1, seed=0)
    more = proposing.propose(tiny_model, None, request, path)
    assert {file: file.read_bytes() for file in before} == before and (path / "notes.txt").read_text() == "mine"
    assert more.latent_id.tolist() == [0, 0, 1, 1, 2] and len(np.unique(more.z, axis=0)) == 3
    again = packs.load(path, tiny_model, unlabelled=True)
    np.testing.assert_array_equal(again.masks, more.masks)
    assert label_folders.has_labels(again).tolist() == [False, True, False, False, False]
    with pytest.raises(ValueError, match=r"truncation 1, wanted is 0\.7"):
        proposing.propose(tiny_model, None, dataclasses.replace(request, truncation_psi=0.7), path)
    other = LabelMap(("background", "car"), ((0, 0, 0), (1, 2, 3)))
    with pytest.raises(ValueError, match=r"has the classes .*leave the label map out"):
        proposing.propose(tiny_model, other, request, path)
    stranger = tiny_model.replace(generator=tiny_model.generator.replace(variables=_shifted(tiny_model)))
    with pytest.raises(ValueError, match="fingerprint"):
        proposing.propose(stranger, None, request, path)


def _shifted(model):
    variables = model.generator.variables
    return variables | {"more": np.ones(1)}


@pytest.mark.slow
def test_a_branch_chooses_by_its_doubt(tiny_semantic_model, tmp_path, capsys):
    request = Request(num=1, by="uncertainty", candidates=2)
    pack = proposing.propose(tiny_semantic_model, None, request, tmp_path / "labels")
    assert len(pack) == 1 and pack.label_map == tiny_semantic_model.label_map
    assert "view 6/6" in capsys.readouterr().out


def test_what_cannot_be_proposed_is_refused(tiny_model, tiny_pack, tmp_path):
    with pytest.raises(ValueError, match="no classes of its own"):
        proposing.propose(tiny_model, None, Request(), tmp_path / "labels")
    for request, message in (
        (Request(by="luck"), "expected one of latents, uncertainty"),
        (Request(by="uncertainty"), "no semantic branch"),
        (Request(candidates=3), "3 candidates are fewer than the 30 latents"),
    ):
        with pytest.raises(ValueError, match=message):
            proposing.propose(tiny_model, tiny_pack.label_map, request, tmp_path / "labels")
    for names, message in (
        (("background",), "'background' alone"),
        (("background", "A b", "hair", "a_B"), "the names 'A b', 'a_B' differ in case"),
    ):
        label_map = LabelMap(names, tuple((index, 0, 0) for index in range(len(names))))
        with pytest.raises(ValueError, match=message):
            proposing.propose(tiny_model, label_map, Request(), tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


@pytest.mark.slow
def test_the_door_writes_what_a_training_refuses_until_something_is_labelled(
    tiny_assets, tiny_pack, shrunk, tmp_path, capsys, monkeypatch
):
    labels = tmp_path / "labels"
    (tmp_path / "classes.txt").write_text("\n".join(["# mine", *tiny_pack.label_map.names, "a,b"]))
    commands.propose(str(tiny_assets / "heads"), str(labels), labelmap=str(tmp_path / "classes.txt"), num=3)
    told = capsys.readouterr().out
    assert "classes: 0 background, 1 " in told and "cannot have the names [a,b]" in told and "cvat-xml" in told
    assert "3 views by latents, 3 in all, of which 0 are labelled" in told
    assert sorted(path.name for path in labels.iterdir() if path.is_file()) == [
        "labelmap.json",
        "pack.json",
        "views.npz",
    ]
    settings = shrunk("heads.py")
    settings.update({"annotations": str(labels), "steps": 1, "views_per_step": 2, "save_every": 1})
    settings = train.cli.as_dataclass(settings, train.branch.Settings)
    with pytest.raises(ValueError, match="none of the 3 views is labelled yet"):
        train.main(settings, str(tmp_path / "run"), str(tiny_assets / "heads"))
    classes = png.load_label_map(labels / "labelmap.json")
    half = np.full((16, 16), 255, np.uint8)
    half[5:11, 5:11] = 1
    for view in (0, 2):
        label_folders.write_mask(labels, view, half, classes)
    taken = []
    monkeypatch.setattr(train.branch, "train", lambda config, model, pack, folder: taken.append(pack))
    with pytest.warns(UserWarning, match="nothing is known of them"):
        train.main(settings, str(tmp_path / "run"), str(tiny_assets / "heads"))
    assert "1 of 3 views are not labelled yet: they are left out" in capsys.readouterr().out
    assert taken[0].latent_id.tolist() == [0, 2]
