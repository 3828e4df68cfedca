"""Relabelling: the same branch gives the same bytes; another branch and other classes are verified; it is resumed."""

import json
import shutil

import numpy as np
import pytest

from dnerf_jax import factory, relabel
from dnerf_jax.factory import description, provenance, shards
from dnerf_jax.factory.checks import comparison, relabelling, rerendering, verification
from dnerf_jax.factory.plan import LABELS
from dnerf_jax.io import checkpoints, files, ply
from dnerf_jax.models import semantic
from dnerf_jax.models.semantic import SemanticConfig
from dnerf_jax.ops.labels import LabelMap
from tests.factory import forging

pytestmark = [pytest.mark.slow, pytest.mark.exact]

HEAD = {"skin": "head", "hair": "head", "mouth": "lips"}
KEPT = ("image", "depth_z", "distance", "normal", "opacity")


@pytest.fixture(scope="module")
def other(tiny_semantic_model, random_arrays, tmp_path_factory):
    """The same generator with a branch of three classes."""
    config = SemanticConfig(num_classes=3, hidden=8, feature_channels=4, superresolution_width=4)
    branch = semantic.abstract(config, tiny_semantic_model.generator.config)
    labels = LabelMap(("background", "left", "right"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)))
    model = tiny_semantic_model.replace(
        semantic=branch.replace(params=random_arrays(branch.params, 5)), label_map=labels
    )
    folder = tmp_path_factory.mktemp("other") / "model"
    checkpoints.save(folder, model)
    return folder


@pytest.fixture(scope="module")
def halves(tiny_dataset, other, tmp_path_factory):
    """The dataset with that branch's labels."""
    out = tmp_path_factory.mktemp("halves") / "out"
    relabelling.relabel(tiny_dataset, out, model=checkpoints.load(other))
    return out


@pytest.fixture(scope="module")
def heads(tiny_dataset, tmp_path_factory):
    """The dataset in merged classes."""
    out = tmp_path_factory.mktemp("heads") / "out"
    relabelling.relabel(tiny_dataset, out, names=HEAD)
    return out


def verified(out, checkpoint, samples=100):
    """What is found of all files and of all views rendered again."""
    findings = verification.Findings()
    verification.check(out, findings, drawn=rerendering.drawn(out, str(checkpoint)))
    compared = comparison.compare(out, checkpoints.load(checkpoint), findings, samples=samples)
    return compared, [str(finding) for finding in findings.listed]


def tars(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.tar")}


def require_kept(before, after):
    """All that is no label is the same, byte by byte."""
    data, new = factory.load(before), factory.load(after)
    suffixes = [data.forms[name].suffix for name in KEPT] + ["json"]
    for index in range(len(data)):
        old, found = data.files(index), new.files(index)
        assert [old[suffix] for suffix in suffixes] == [found[suffix] for suffix in suffixes]


def test_the_same_branch_gives_the_same_bytes(tiny_dataset, tiny_checkpoint, tmp_path):
    written = []
    model = checkpoints.load(tiny_checkpoint)
    relabelling.relabel(tiny_dataset, tmp_path, model=model, on_shard=lambda shard: written.append(shard.name))
    assert written == ["train-000000", "train-000001", "test-000000"]
    assert tars(tmp_path) == tars(tiny_dataset) and len(tars(tmp_path)) == 6
    compared, problems = verified(tmp_path, tiny_checkpoint)
    assert problems == [] and compared.identical == 12
    old, new = (shards.read_sidecar(folder, "test-000000") for folder in (tiny_dataset, tmp_path))
    assert new["stack"].pop(provenance.LABELS_STACK)["fingerprint"] and old == new


def test_another_branch_gives_its_labels(tiny_dataset, halves, other, tiny_checkpoint):
    require_kept(tiny_dataset, halves)
    old, new = factory.load(tiny_dataset), factory.load(halves)
    assert new.label_map.names == ("background", "left", "right") and new.plan == old.plan
    assert new[0]["logits"].shape == (16, 16, 3)
    for index in range(len(new)):
        assert new[index]["mask"].max() < 3 and np.array_equal(new[index]["mask"], new[index]["logits"].argmax(-1))
    cloud = ply.decode_cloud(new.object("points", 4))
    assert cloud.label_map == new.label_map and cloud.labels.max() < 3
    compared, problems = verified(halves, other)
    assert problems == [] and compared.identical == 12
    content = files.read_json(halves / description.NAME)
    assert content["checkpoint"]["semantic_fingerprint"] != old.description.checkpoint["semantic_fingerprint"]
    assert content[description.RELABELLED] == {"checkpoint": dict(old.description.checkpoint), "classes": []}
    with pytest.raises(ValueError, match="of another semantic branch"):
        rerendering.drawn(halves, str(tiny_checkpoint))


def test_a_label_that_is_forged_afterwards_is_found(halves, other, tmp_path):
    out = forging.copied(halves, tmp_path / "copy")
    samples = shards.read_sidecar(out, "test-000000")["samples"]
    with open(out / "data" / "test-000000.tar", "rb") as file:
        masks = [shards.read_members(file, sample)["mask.png"] for sample in samples]
    forging.forge(out, "test-000000", lambda sample, members: members.update({"mask.png": masks[sample["view"]]}))
    compared, problems = verified(out, other)
    assert compared.identical == 10 and all("0000004_" in problem and "mask.png" in problem for problem in problems)


def test_merged_classes_need_no_rendering(tiny_dataset, heads, tiny_checkpoint, monkeypatch):
    require_kept(tiny_dataset, heads)
    old, new = factory.load(tiny_dataset), factory.load(heads)
    assert new.label_map.names == ("background", "head", "eye", "lips")
    assert new.label_map.colors == tuple(old.label_map.colors[i] for i in (0, 1, 2, 3))
    for before, after in zip(old, new, strict=True):
        assert np.array_equal(after["mask"], np.array([0, 1, 2, 3, 1])[before["mask"]])
        assert (after["confidence"] >= before["confidence"] - 1e-3).all() and after["logits"].shape[-1] == 4
    before, after = (ply.decode_cloud(data.object("points", 4)) for data in (old, new))
    assert np.array_equal(after.labels, np.array([0, 1, 2, 3, 1])[before.labels])
    assert after.label_map == new.label_map and np.array_equal(after.points, before.points)
    compared, problems = verified(heads, tiny_checkpoint)
    assert problems == [] and compared.identical == 12
    area = shards.read_sidecar(heads, "train-000000")["samples"][0]["area"]
    assert area == np.bincount(new[0]["mask"].ravel(), minlength=4).tolist()


def test_names_of_names_are_followed_and_another_branch_begins_anew(heads, halves, other, tiny_checkpoint, tmp_path):
    relabelling.relabel(heads, tmp_path / "again", names={"lips": "head"})
    assert factory.load(tmp_path / "again").label_map.names == ("background", "head", "eye")
    assert verified(tmp_path / "again", tiny_checkpoint)[1] == []
    relabelling.relabel(heads, tmp_path / "both", model=checkpoints.load(other), names={"right": "left"})
    assert factory.load(tmp_path / "both").label_map.names == ("background", "left")
    assert verified(tmp_path / "both", other)[1] == []


def test_interrupted_it_goes_on(tiny_dataset, heads, tmp_path):
    class Killed(BaseException):
        pass

    def kill(shard):
        raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        relabelling.relabel(tiny_dataset, out, names=HEAD, on_shard=kill)
    assert [path.name for path in (out / "data").glob("*.tar")] == ["train-000000.tar"]
    for half in ("train-000001.tar", ".train-000001.0123abcd.partial.tar"):
        (out / "data" / half).write_bytes(b"half of it")
    written = []
    relabelling.relabel(tiny_dataset, out, names=HEAD, on_shard=lambda shard: written.append(shard.name))
    assert written == ["train-000001", "test-000000"]
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(heads) for path in heads.rglob("*") if path.is_file())
    assert all((out / name).read_bytes() == (heads / name).read_bytes() for name in names)
    with pytest.raises(ValueError, match="was made with other settings or inputs: relabelled_from was"):
        relabelling.relabel(tiny_dataset, out, names={"skin": "head", "hair": "head", "mouth": "mund"})


def _without(source, out, *modalities):
    """A copy of the dataset without some modalities of its views."""
    forging.copied(source, out)
    gone = [factory.load(out).forms[name].suffix for name in modalities]

    def change(said):
        said["plan"]["modalities"] = [name for name in said["plan"]["modalities"] if name not in modalities]
        said["forms"] = {name: form for name, form in said["forms"].items() if name not in modalities}

    def drop(sample, members):
        for suffix in gone:
            members.pop(suffix, None)
        sample["pixels"] = {name: value for name, value in sample["pixels"].items() if name not in modalities}

    forging.edit_json(out / "dataset.json", change)
    for shard in ("train-000000", "train-000001", "test-000000"):
        forging.forge(out, shard, drop)
    return out


def test_confidence_that_cannot_be_known_goes(tiny_dataset, tiny_checkpoint, tmp_path):
    source, out = _without(tiny_dataset, tmp_path / "source", "logits"), tmp_path / "out"
    with pytest.warns(UserWarning, match="gets no confidence: that of merged classes needs the logits"):
        relabelling.relabel(source, out, names=HEAD)
    data = factory.load(out)
    assert "confidence" not in data.forms and set(data.forms) == {*KEPT, "mask"}
    findings = verification.Findings()
    verification.check(out, findings)
    assert findings.total == 0


def test_a_set_without_labels_gets_masks(tiny_dataset, tiny_checkpoint, tmp_path):
    source = _without(tiny_dataset, tmp_path / "source", *LABELS)
    (source / description.LABEL_MAP).unlink()
    relabelling.relabel(source, tmp_path / "out", model=checkpoints.load(tiny_checkpoint))
    new, old = factory.load(tmp_path / "out"), factory.load(tiny_dataset)
    assert all(np.array_equal(new[i]["mask"], old[i]["mask"]) for i in range(12)) and new.label_map == old.label_map
    with pytest.raises(ValueError, match="has no labels whose classes could get other names"):
        relabelling.relabel(source, tmp_path / "none", names=HEAD)


def test_what_cannot_be_relabelled_is_refused(tiny_dataset, tiny_checkpoint, tiny_model, random_arrays, tmp_path):
    with pytest.raises(ValueError, match="there is nothing to do"):
        relabelling.relabel(tiny_dataset, tmp_path / "out")
    with pytest.raises(ValueError, match="has no semantic branch"):
        relabelling.relabel(tiny_dataset, tmp_path / "out", model=tiny_model)
    generator = tiny_model.generator
    stranger = tiny_model.replace(generator=generator.replace(variables=random_arrays(generator.variables, 9)))
    with pytest.raises(ValueError, match="of another generator"):
        relabelling.relabel(tiny_dataset, tmp_path / "out", model=stranger)
    with pytest.raises(ValueError, match="there is no class 'beard'"):
        relabelling.relabel(tiny_dataset, tmp_path / "out", names={"beard": "head"})
    assert not (tmp_path / "out").exists()
    damaged = forging.copied(tiny_dataset, tmp_path / "damaged")
    path = damaged / "data" / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match="train-000000.tar is damaged, or of another plan: look at all"):
        relabelling.relabel(damaged, tmp_path / "out", names=HEAD)
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_labels_of_other_pictures_are_not_made(tiny_dataset, other, tmp_path):
    """The latents of the views are changed, so that they are not what the pictures show."""
    copy = forging.copied(tiny_dataset, tmp_path / "copy")
    forging.forge(copy, "train-000000", forging.own(lambda said: said.update(z=[0.5] * 8)))
    with pytest.raises(ValueError, match="the picture 00000000_00 is not what the checkpoint renders of its latent"):
        relabelling.relabel(copy, tmp_path / "out", model=checkpoints.load(other))


def test_the_door(tiny_dataset, heads, tmp_path, capsys, monkeypatch):
    """The work is called here, not in a process of its own."""
    monkeypatch.setattr(rerendering.engines, "in_a_worker", lambda function, *arguments: function(*arguments))
    names, out = tmp_path / "names.json", tmp_path / "out"
    names.write_text(json.dumps(HEAD))
    relabel.main(str(tiny_dataset), str(out), labelmap=str(names))
    assert tars(out) == tars(heads)
    assert capsys.readouterr().out.splitlines()[-2:] == ["test-000000", f"relabelled: {out}"]
    with pytest.raises(ValueError, match="is the dataset itself"):
        relabel.main(str(tiny_dataset), str(tiny_dataset), labelmap=str(names))
    shutil.rmtree(out / "data")
    relabel.main(str(tiny_dataset), str(out), labelmap=str(names))
    assert tars(out) == tars(heads)
