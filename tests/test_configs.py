"""Every file in configs/: its fields are those of its settings, it fits the assets, and doors find it by name."""

import ast
import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dnerf_jax import cli
from dnerf_jax.factory.plan import Plan
from dnerf_jax.training import branch
from dnerf_jax.training.datasetgan import plan as datasetgan
from dnerf_jax.training.editing import plan as editing
from dnerf_jax.training.encoders import plan as encoding
from dnerf_jax.training.inversion import plan as inversion
from dnerf_jax.training.points import plan as points
from dnerf_jax.training.pretraining import plan
from dnerf_jax.training.segmentation import plan as segmentation
from dnerf_jax.worlds import heads

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("[a-z]*.py"))


def load(path):
    """The settings of a configuration, of the class that its docstring names."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    text = ast.get_docstring(next(node for node in functions if node.name == "get_config"))
    module, name = re.search(r"(dnerf_jax[.\w]+)\.(\w+) documents its fields", text).groups()
    return cli.as_dataclass(cli.load_config(path), getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configuration_states_every_field_of_its_settings(path):
    run = load(path)
    kinds = plan.Settings | branch.Settings | Plan | inversion.Settings | encoding.Settings | editing.Settings
    assert isinstance(run, kinds | segmentation.Settings | points.Settings | datasetgan.Settings)
    assert {field.name for field in dataclasses.fields(run)} == set(cli.load_config(path))
    hash(run)  # the steps are compiled for the settings


def test_the_configurations_of_the_heads_fit_the_world():
    backbone = load(ROOT / "configs" / "heads_backbone_cpu.py")
    assert backbone.generator.z_dim == heads.Z_DIM
    assert backbone.generator.image_resolution == backbone.data.resolution
    assert backbone.generator.rendering.white_back  # the world's renders are on white
    # All rays of the world's cameras enter the box after ray_start and leave it before ray_end.
    options = backbone.generator.rendering
    assert options.ray_start <= options.avg_camera_radius - options.box_warp / 2 + 0.01
    assert options.ray_end >= options.avg_camera_radius + options.box_warp / 2 - 0.01


@pytest.mark.slow
def test_an_unknown_field_of_a_door_is_refused_with_its_neighbour(tmp_path):
    command = [sys.executable, "-m", "dnerf_jax.train", "--config", "heads", "--workdir", tmp_path / "run"]
    done = subprocess.run([*command, "--config.learning_rte=1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "config has no field 'learning_rte'; did you mean 'learning_rate'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configuration_is_found_by_name_from_any_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = cli.load_config(path)
    for name in (path.stem, path.name, f"configs/{path.name}"):
        assert cli.load_config(name) == expected


def test_the_backbone_for_a_gpu_differs_where_it_says_so():
    small, large = cli.load_config("heads_backbone_cpu"), cli.load_config("heads_backbone_gpu")
    assert large.generator.channel_max == 2 * small.generator.channel_max
    assert large.generator.rendering == small.generator.rendering
