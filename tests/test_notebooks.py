"""Notebooks: stored with the pictures of a whole run, small, and every cell runs.

python tests/test_notebooks.py        # runs them all, and stores what they show
"""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from dnerf_jax.io import packs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook with its pictures


# Where a notebook's work is cut short in the test, which wants every cell to run and not what it shows to be good.
SHORTER = {
    "bodies": {
        '"bodies_train", model), range(8))': '"bodies_train", model, check=0), range(1))',
        "shown = [0, 9, 18, 27, 36]": "shown = [0, 1]",
        "steps=60)": "steps=3)",
        "FRAMES = 8": "FRAMES = 2",
        "180.0, 7, endpoint": "180.0, 3, endpoint",
        "resolution=160": "resolution=64",
        '"num_identities": 3': '"num_identities": 2',
    },
    "quickstart": {
        "steps=40)": "steps=4)",
        '"heads_train", model), range(10))': '"heads_train", model, check=0), range(5))',
    },
    "dataset": {
        "--config.steps=100": "--config.steps=8 --config.annotations=$FEW",
        "num_identities=40": "num_identities=10 --config.views_per_identity=2",
        "--samples 4": "--samples 1",
        "range(200)": "range(20)",
    },
    "inversion_and_editing": {
        "steps=60, learning_rate": "steps=10, learning_rate",
        "optimizer=optimizer, steps=60)": "optimizer=optimizer, steps=20)",
        "dataclasses.replace(adam, steps=40": "dataclasses.replace(adam, steps=10",
        "z=dataclasses.replace(editing.z, steps=40)": "z=dataclasses.replace(editing.z, steps=6)",
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


# What needs the libraries that datasets are read by.
READING = {"dataset"}
EACH = [pytest.param(path, marks=[pytest.mark.forms] * (path.stem in READING), id=path.stem) for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.parametrize("path", EACH)
def test_a_notebook_runs_and_shows_pictures(path, monkeypatch, tmp_path):
    packs.save(tmp_path / "few", packs.select(packs.load("heads_train"), range(5)))
    monkeypatch.setenv("FEW", str(tmp_path / "few"))
    monkeypatch.delenv("XLA_FLAGS")  # they suit small tests; a reader has none
    monkeypatch.setenv("NPROC", "1")  # its commands have one worker, where several would compile the same at once
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert pictures(execute(path, SHORTER[path.stem])) >= 5


if __name__ == "__main__":
    for notebook_path in NOTEBOOKS:
        nbformat.write(execute(notebook_path), notebook_path)
