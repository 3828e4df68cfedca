"""Notebooks: stored with the pictures of a whole run, small, and every cell runs.

python tests/test_notebooks.py        # runs them all, and stores what they show
"""

import importlib.util
import shutil
import subprocess
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import nbformat
import numpy as np
import pytest
import small_bodies
from nbclient import NotebookClient
from packaging.requirements import Requirement
from PIL import Image

from dnerf_jax.io import checkpoints, packs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook with its pictures


# Compiled as in conftest.py, and without the newer code generator, as the Makefile has it.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false"
)
# A branch of one block's features, which is less to compile.
LAST = 'semantic=dataclasses.replace(settings.semantic, features="last")'
# Where a notebook's work is cut short in the test, which wants every cell to run and not what it shows to be good. All
# run with a generator of few pixels: SMALL is the folder of `small_files`.
SHORTER = {
    "bodies": {
        'load("bodies")': 'load("SMALL/bodies")',
        "picture[32:224, 32:224]": "picture",
        '"bodies_train", model), range(8))': '"SMALL/bodies_train", model, check=0), range(2))',
        "shown = [0, 9, 18, 27, 36]": "shown = [0, 1]",
        "steps=60)": f"steps=3, views_per_step=1, patch=4, {LAST})",
        "FRAMES = 8": "FRAMES = 2",
        "180.0, 7, endpoint": "180.0, 3, endpoint",
        "resolution=160": "resolution=32",
        '"num_identities": 3': '"num_identities": 2',
    },
    "quickstart": {
        'load("heads")': 'load("SMALL/assets/heads")',
        'load("heads_train", model), range(10))': 'load("SMALL/assets/heads_train", model, check=0), range(2))',
        "steps=40)": f"steps=4, patch=4, {LAST})",
        " + (1 - opacity)[..., None]": "",  # its background is black
        "- 1) < 0.2": "- 1) < 0.5",  # where a ray is sampled moves with its density, and has no gradient
    },
    "dataset": {
        "--config heads ": "--config heads --checkpoint SMALL/assets/heads --config.patch=4 "
        "--config.semantic.features=last ",
        "--config.steps=100": "--config.steps=4 --config.annotations=SMALL/assets/heads_train",
        "num_identities=40": "num_identities=10",
        "range(200)": "range(20)",
    },
    "inversion_and_editing": {
        'load("heads")': 'load("SMALL/assets/heads")',
        'load("heads_train", heads)': 'load("SMALL/assets/heads_train", heads, check=0)',
        "for i in range(30)": "for i in range(2)",
        "[:24]": "[:16]",
        "zeros(24)": "zeros(16)",
        "config.rendering.metres_per_unit * 1000": "1000",
        'disc & (painted == names.index("background"))': "disc",
        'read("open mouth", model)': 'read("SMALL/edit.json", model)',
        "steps=40, views_per_step=1": f"steps=4, views_per_step=1, {LAST}",
        "steps=60, learning_rate": "steps=10, rays=64, learning_rate",  # as many as an image has
        "optimizer=optimizer, steps=60)": "optimizer=optimizer, steps=20)",
        "dataclasses.replace(adam, steps=40, rays=512)": "dataclasses.replace(adam, steps=10)",
        "key, (2, 512)": "key, (2, 64)",
        "z=dataclasses.replace(editing.z, steps=40)": "z=dataclasses.replace(editing.z, steps=6, rays=64)",
    },
    "own_generator": {  # from a pickle
        'PICKLE = ""': 'PICKLE = "SMALL/network.pkl"',
        'LABELS = "" if PICKLE else "own_generator_labels.zip"': 'LABELS = "SMALL/labels.zip"',
        "VIEWS, STEPS, IDENTITIES = 6, 60, 10": "VIEWS, STEPS, IDENTITIES = 6, 2, 10",
        "--config.steps={STEPS}": "--config.steps={STEPS} --config.patch=4 --config.semantic.features=last",
        "--config.shard_size=4": "--config.shard_size=4 --workers 1",
    },
}


def execute(path, shorter=()):
    """The notebook after all of its cells were run, as a reader would, with other text in places."""
    notebook = nbformat.read(path, as_version=4)
    for before, after in dict(shorter).items():
        cells = [cell for cell in notebook.cells if before in cell.source]
        assert cells, f"{path.name} has no {before!r} to be cut short"
        for cell in cells:
            cell.source = cell.source.replace(before, after)
    if shorter:  # tracing takes a fifth less time where garbage is looked for less often
        notebook.cells.insert(0, nbformat.v4.new_code_cell("import gc\ngc.set_threshold(50_000, 20, 50)"))
    folder = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(notebook, timeout=900, resources=folder, record_timing=False).execute()


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook):
    return sum("image/jpeg" in output.get("data", {}) for output in outputs(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs(notebook))
    assert pictures(notebook) >= 5 and path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_alone_installs_what_it_needs(path, monkeypatch):
    """Where nothing is there but itself, as on Colab, from the repository's address; with a GPU what that needs."""
    first = next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for gpu in (None, "/usr/bin/nvidia-smi"):
        monkeypatch.setattr(shutil, "which", lambda name, found=gpu: found)
        exec(first.replace('REPOSITORY = ""', 'REPOSITORY = "https://example.org/d.git"'), {})
    without, with_gpu = (Requirement(command[5]) for command in commands)
    assert without.name == "dnerf_jax" and without.url == "git+https://example.org/d.git"
    assert with_gpu.extras == without.extras | {"gpu"} <= set(metadata("dnerf_jax").get_all("Provides-Extra"))


# What needs the libraries that datasets are read by.
READING = {"dataset"}
EACH = [pytest.param(path, marks=[pytest.mark.forms] * (path.stem in READING), id=path.stem) for path in NOTEBOOKS]


@pytest.fixture(scope="module")
def small_bodies_files(random_arrays, tiny_config, tmp_path_factory):
    """A folder with a generator of bodies, and a pack of it."""
    folder = tmp_path_factory.mktemp("bodies")
    model = small_bodies.small(random_arrays, tiny_config)
    checkpoints.save(folder / "bodies", model)
    packs.save(folder / "bodies_train", small_bodies.looked_at(model))
    return folder


@pytest.fixture
def small_files(small_assets, tmp_path, monkeypatch):
    """A folder with assets, edit.json, network.pkl, as EG3D writes it, and labels.zip, masks of six views of that."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "converters")
    import tiny

    network = tiny.record()
    network.child("decoder.net.2").attributes["_parameters"]["bias"][0] = 10.0  # dense: clouds are of surfaces
    tiny.write(tmp_path / "network.pkl", network)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        for index in range(6):
            Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) // 64).save(tmp_path / "mask.png")
            archive.write(tmp_path / "mask.png", f"{index:04d}.png")
    (tmp_path / "edit.json").write_text('[{"op": "grow", "label": "hair", "by": 0.2}]')
    (tmp_path / "assets").symlink_to(small_assets)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", EACH)
def test_a_notebook_runs_and_shows_pictures(path, monkeypatch, request):
    small_files = request.getfixturevalue("small_bodies_files" if path.stem == "bodies" else "small_files")
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    monkeypatch.setenv("NPROC", "1")  # its commands have one worker, where several would compile the same at once
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # all begin alike
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shorter = {before: after.replace("SMALL", str(small_files)) for before, after in SHORTER[path.stem].items()}
    assert pictures(execute(path, shorter)) >= 5


if __name__ == "__main__":
    for notebook_path in NOTEBOOKS:
        nbformat.write(execute(notebook_path), notebook_path)
