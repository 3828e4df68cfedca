"""Croissant: what is required is there, sums are those of the tars, and mlcroissant reads the pictures."""

import hashlib
import shutil

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory.cards import card, croissant
from dnerf_jax.io import files
from tests.factory.trimming import trimmed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tiny_dataset, tmp_path_factory):
    """The tiny dataset with its card."""
    out = shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("croissant") / "data")
    card.write(out)
    return out


@pytest.fixture(scope="module")
def content(finished):
    return files.read_json(finished / croissant.NAME)


def test_files_are_named_with_their_sums(finished, content):
    tars = {entry["contentUrl"]: entry for entry in content["distribution"] if entry["@type"] == "cr:FileObject"}
    assert set(tars) == {path.relative_to(finished).as_posix() for path in finished.rglob("*.tar")}
    for path, entry in tars.items():
        data = (finished / path).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest() and entry["contentSize"] == f"{len(data)} B"


def test_records_have_all_modalities_and_numbers(content, tiny_plan):
    records = {entry["@id"]: [field["name"] for field in entry["field"]] for entry in content["recordSet"]}
    assert set(records) == {"numbers", "views", *tiny_plan.modalities}
    assert {"key", "identity", "split", "z", "cam2world", "intrinsics"} <= set(records["numbers"])
    assert all(fields == ["key", name] for name, fields in records.items() if name != "numbers")
    sets = {entry["@id"] for entry in content["distribution"] if entry["@type"] == "cr:FileSet"}
    used = {field["source"]["fileSet"]["@id"] for entry in content["recordSet"] for field in entry["field"]}
    assert used == sets and set(content["@context"]) >= {"cr", "sc", "dct", "recordSet", "isArray"}


def test_a_scale_of_depth_is_said_exactly(content, finished):
    (depth,) = [entry for entry in content["recordSet"] if entry["@id"] == "depth_z"]
    scale = factory.load(finished).forms["depth_z"].scale
    assert f"times {scale:.17g} they are in the unit: world unit" in depth["description"]


@pytest.mark.parametrize("name", [*croissant.REQUIRED])
def test_what_is_missing_is_named(content, name):
    with pytest.raises(ValueError, match=f"croissant.json lacks {name}"):
        croissant.check({key: value for key, value in content.items() if key != name})


def test_parts_without_sums_or_descriptions_are_named(content):
    first, *rest = content["distribution"]
    with pytest.raises(ValueError, match=r"data/train-000000.tar: sha256"):
        croissant.check(content | {"distribution": [first | {"sha256": ""}, *rest]})
    first, *rest = content["recordSet"]
    with pytest.raises(ValueError, match="numbers: description"):
        croissant.check(content | {"recordSet": [first | {"description": None}, *rest]})


def test_a_dataset_of_images_alone_has_them_alone(tiny_dataset, tmp_path):
    out = trimmed(tiny_dataset, tmp_path / "images", modalities=("image",))
    card.write(out)
    content = files.read_json(out / croissant.NAME)
    assert [entry["@id"] for entry in content["recordSet"]] == ["numbers", "views", "image"]


@pytest.mark.forms
def test_mlcroissant_accepts_it_and_reads_records(finished, tmp_path, monkeypatch):
    constants = pytest.importorskip("mlcroissant._src.core.constants", reason="make test-all installs it")
    extract = pytest.importorskip("mlcroissant._src.operation_graph.operations.extract")
    import mlcroissant

    # It keeps what it extracts by the relative names of archives, which other datasets have too.
    monkeypatch.setattr(constants, "EXTRACT_PATH", constants.epath.Path(tmp_path))
    monkeypatch.setattr(extract, "EXTRACT_PATH", constants.epath.Path(tmp_path))
    data = mlcroissant.Dataset(str(finished / croissant.NAME))
    issues = data.metadata.ctx.issues
    assert not issues.errors and all("datePublished" in warning for warning in issues.warnings)
    ours = {view["key"]: view for view in factory.load(finished)}
    for name in ("image", "mask", "depth_z"):
        records = list(data.records(name))
        assert len(records) == len(ours)
        for record in records:
            stored = ours[record[f"{name}/key"].decode()][name]
            scale = factory.load(finished).forms[name].scale or 1
            np.testing.assert_allclose(np.asarray(record[f"{name}/{name}"]) * scale, stored, rtol=1e-6)
    texts = {record["views/key"].decode(): record["views/views"] for record in data.records("views")}
    for key, view in ours.items():
        own = files.parse_json(texts[key].decode())
        np.testing.assert_array_equal(np.float32(own["cam2world"]), view["cam2world"])
