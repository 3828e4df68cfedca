"""What `pip install` installs: one name, dnerf_jax, with the configurations and converters inside."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def arguments(monkeypatch):
    """What setup.py tells setuptools."""
    setuptools = pytest.importorskip("setuptools")
    told = {}
    monkeypatch.setattr(setuptools, "setup", told.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return told


def test_one_name_is_installed(arguments):
    assert {name.split(".")[0] for name in arguments["packages"]} == {"dnerf_jax"}
    assert not set(arguments) & {"py_modules", "scripts"}


def test_every_folder_of_python_files_is_installed(arguments):
    moved = arguments["package_dir"]
    folders = {ROOT / moved.get(name, name.replace(".", "/")) for name in arguments["packages"]}
    for package in ("dnerf_jax", "configs", "converters"):
        assert {file.parent for file in (ROOT / package).rglob("*.py")} <= folders


@pytest.mark.slow
def test_converters_work_under_the_name_that_they_are_installed_by():
    source = (
        f"import sys, dnerf_jax; dnerf_jax.__path__.append({str(ROOT)!r}); "
        "from dnerf_jax.converters import eg3d, verify; from dnerf_jax import configs; "
        "print(verify.eg3d is eg3d, 'converters' in sys.modules, 'configs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]
