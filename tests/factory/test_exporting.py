"""Exports: whole or not at all, into folders of their own, in forms that are known, without JAX."""

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from dnerf_jax import export
from dnerf_jax.factory import exporting
from dnerf_jax.factory.exporting import FORMS, Form


@pytest.mark.parametrize("name", FORMS)
def test_forms_have_writers_and_are_named_in_the_help(name):
    form = FORMS[name]
    module = importlib.import_module(f"dnerf_jax.factory.writers.{form.module}")
    assert callable(getattr(module, form.function)) and form.text
    assert name in export.main.__doc__


def test_unknown_forms_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"no form 'yolo'.*\n  tfds .*TensorFlow(.|\n)*coco"):
        exporting.export(tmp_path, "yolo", tmp_path / "out")


@pytest.mark.slow
def test_an_export_has_its_name_when_it_is_whole(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMS, "broken", Form("for tests", "folder", "broken"))
    for wrong in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()):

        def write(dataset, out, wrong=wrong):
            (out / "half").write_text(str(len(dataset)))
            raise wrong

        monkeypatch.setattr("dnerf_jax.factory.writers.folder.broken", write, raising=False)
        with pytest.raises(type(wrong)):
            exporting.export(tiny_dataset, "broken", tmp_path / "new" / "out")
        assert not list((tmp_path / "new").iterdir())


@pytest.mark.slow
def test_folders_with_content_and_the_dataset_itself_are_refused(tiny_dataset, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="exists and is not empty"):
        exporting.export(tiny_dataset, "folder", tmp_path)
    before = sorted(tiny_dataset.rglob("*"))
    for inside in (tiny_dataset, tiny_dataset / "coco"):
        with pytest.raises(ValueError, match="stays as it was made: name a folder elsewhere"):
            exporting.export(tiny_dataset, "folder", inside)
    assert sorted(tiny_dataset.rglob("*")) == before and sorted(tmp_path.iterdir()) == [tmp_path / "mine.txt"]


@pytest.mark.slow
def test_what_is_damaged_or_empty_is_not_exported(tiny_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    tar = copy / "data" / "train-000001.tar"
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    with pytest.raises(ValueError, match="train-000001.tar was changed or damaged: its sha256 is not that"):
        exporting.export(copy, "folder", tmp_path / "out")
    exporting.export(copy, "folder", tmp_path / "test", split="test")
    description = json.loads((copy / "dataset.json").read_text())
    description["plan"]["num_identities"] = 1
    (copy / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="test: 0 views of .* has nothing to export: choose another split"):
        exporting.export(copy, "folder", tmp_path / "none", split="test")
    assert not (tmp_path / "out").exists() and not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_split_alone_is_exported(tiny_dataset, tmp_path, capsys):
    export.main(str(tiny_dataset), "folder", str(tmp_path / "out"), split="test")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labelmap.json", "source.json", "test"]
    assert "imagefolder" in capsys.readouterr().out
    with pytest.raises(ValueError, match="there is no split 'all': expected one of train, test"):
        export.main(str(tiny_dataset), "folder", str(tmp_path / "other"), split="all")


@pytest.mark.slow
def test_no_jax_is_loaded(tiny_dataset, tmp_path):
    code = (
        "import sys; from dnerf_jax import export; export.main(*sys.argv[1:]); "
        "assert not {'jax', 'jaxlib', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tiny_dataset, "cvat", tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "labelmap.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, missing, extra", [("coco", "pycocotools", "export"), ("tfds", "tensorflow_datasets", "tfds")]
)
def test_a_missing_library_is_named_by_its_extra(name, missing, extra, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"pip install dnerf_jax\[{extra}\]"):
        exporting.export(tiny_dataset, name, tmp_path / "out")
    assert not list(tmp_path.iterdir())
