"""Pretraining on a very small heads world: finite, reproducible, resumable, and what it writes is a model."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, pretrain
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.training import logs, runs
from dnerf_jax.training.pretraining import fitting, stages
from dnerf_jax.worlds import heads

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def straight(shrunk, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    pretrain.main(cli.as_dataclass(shrunk("heads_backbone_cpu.py"), fitting.Settings), str(workdir))
    return workdir


def final_state(settings, workdir):
    template = jax.eval_shape(lambda: stages.create_state(settings, stages.initial_variables(settings)["params"]))
    with runs.Checkpoints(workdir / "checkpoints", every=1) as saved:
        return saved.restore_latest(template)


def test_losses_and_scores_are_finite_and_the_renders_are_shown(straight):
    records = logs.read_metrics(straight / "metrics.jsonl")
    steps = {record["step"] for record in records}
    assert steps == {2, 4, 6, 7}
    # What is not finite is written as None: there may be no opaque pixel yet, whose depth or colour could be compared,
    # and one view that is held out says nothing of the spread.
    nothing = ("depth_error_median", "consistency", "psnr_standard_error")
    assert all(value is not None for r in records for name, value in r.items() if name not in nothing)
    by_step = [set().union(*(record for record in records if record["step"] == step)) for step in (2, 4, 6, 7)]
    assert {"color", "opacity", "depth", "loss"} <= by_step[0]
    assert {"color", "opacity", "depth", "loss"} <= by_step[1]
    assert {"image", "gradient"} <= by_step[2]
    scores = {"psnr", "psnr_foreground", "ssim", "psnr_raw", "opacity_iou", "depth_error_median", "consistency"}
    assert scores <= by_step[3]
    assert (straight / "sheets" / "000007.png").stat().st_size > 0


def test_the_model_loads_and_knows_its_average_latent(pretraining, straight):
    model = checkpoints.load(straight / "model")
    assert model.generator.config == pretraining.generator
    assert model.label_map == heads.LABELS
    assert "CC0" in dict(model.info)["license"] and "7 steps" in dict(model.info)["origin"]
    z = jax.random.normal(jax.random.key(5), (4000, pretraining.generator.z_dim))
    w = jax.jit(generator.map_latents)(model.generator, z)[:, 0]
    w_avg = model.generator.variables["buffers"]["mapping"]["w_avg"]
    assert np.abs(w_avg).max() > 0
    # Two means of so many draws differ by a few of their standard errors.
    error = jnp.std(w, axis=0) * (1 / 4000 + 1 / 10000) ** 0.5
    assert np.all(np.abs(w_avg - w.mean(axis=0)) < 5 * error + 1e-3 * np.abs(w_avg))


def test_killed_in_every_stage_and_resumed_equals_straight(pretraining, straight, tmp_path):
    shutil.copytree(straight / "data", tmp_path / "data")

    def work():
        fitting.fit(pretraining, tmp_path)

    programs = stages.ray_step._cache_size(), stages.superresolution_step._cache_size()
    kill(work, stages, "ray_step", 2)
    assert final_state(pretraining, tmp_path)[0] == 2
    kill(work, stages, "ray_step", 2)
    assert final_state(pretraining, tmp_path)[0] == 4
    kill(work, stages, "superresolution_step", 1)
    assert final_state(pretraining, tmp_path)[0] == 6
    work()
    assert programs == (stages.ray_step._cache_size(), stages.superresolution_step._cache_size())
    (step, resumed), (_, expected) = final_state(pretraining, tmp_path), final_state(pretraining, straight)
    assert step == int(resumed.step) == 7
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert (tmp_path / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()


def test_each_stage_trains_its_own_part(pretraining, straight):
    _, state = final_state(pretraining, straight)
    both = jax.tree.map(np.asarray, (state.ema, stages.initial_variables(pretraining)["params"]))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), *both)
    assert moved["decoder"]["fc0"]["weight"] > 0
    assert moved["mapping"]["fc0"]["weight"] > 0
    assert moved["synthesis"]["b8"]["conv1"]["weight"] > 0
    assert moved["superresolution"]["block1"]["conv1"]["weight"] > 0


def test_coarse_steps_leave_the_fine_blocks_and_runs_share_programs(pretraining, straight, rendered):
    """Here, and not beside the other tests of steps, because these are the programs of the run above."""
    programs = stages.ray_step._cache_size()
    other = dataclasses.replace(pretraining, seed=7, start_from="some", save_every=1, sheet_every=1)
    variables = stages.initial_variables(pretraining)
    before = jax.tree.map(np.asarray, variables["params"]["synthesis"])
    state = stages.create_state(pretraining, variables["params"])

    def take(settings, planes, state, step):
        batch, key = stages.ray_batch(pretraining, rendered, step), jax.random.key(step)
        return stages.ray_step(settings.of_step, planes, False, stages.fixed_variables(variables), state, batch, key)[0]

    state = take(other, 4, take(pretraining, 4, state, 1), 1)
    after = state.params["synthesis"]
    jax.tree.map(np.testing.assert_array_equal, after["b8"], before["b8"])
    assert np.abs(after["b4"]["conv1"]["weight"] - before["b4"]["conv1"]["weight"]).max() > 0
    state = take(other, 8, state, 2)
    assert np.abs(state.params["synthesis"]["b8"]["torgb"]["weight"]).max() > 0
    assert stages.ray_step._cache_size() == programs


def test_training_starts_from_a_checkpoint_of_the_same_architecture(pretraining, straight, tmp_path):
    lengths = {"steps": 0, "finish_steps": 0, "superresolution_steps": 0}
    settings = dataclasses.replace(pretraining, start_from=str(straight / "model"), **lengths)
    start = checkpoints.load(straight / "model")
    shutil.copytree(straight / "data", tmp_path / "data")
    made = fitting.fit(settings, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, made.generator.variables["params"], start.generator.variables["params"])
    assert dict(made.info)["origin"].endswith(f"from {start.fingerprint}")
    assert json.loads((tmp_path / "settings.json").read_text())["start_from"] == start.fingerprint
    generators = dataclasses.replace(pretraining.generator, w_dim=8)
    with pytest.raises(ValueError, match="another architecture"):
        fitting.fit(dataclasses.replace(settings, generator=generators), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"resolution": 32}, "config.data.resolution is 32, the generator's images have 16 pixels"),
        ({"held_out": 5}, "config.data.held_out is 5 of 5 identities"),
        ({"z_dim": 10}, "config.generator.z_dim is 10, expected 52: the heads world's latents have 52 numbers"),
        ({"c_dim": 25}, "config.generator.c_dim is 25, expected 0"),
        ({"neural_rendering_resolution": 6}, "config.data.resolution is 16, no multiple of .* resolution of 6"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused_before_they_are_rendered(shrunk, tmp_path, change, message):
    config = shrunk("heads_backbone_cpu.py")
    for name, value in change.items():
        (config.data if name in config.data else config.generator)[name] = value
    with pytest.raises(ValueError, match=message):
        pretrain.main(cli.as_dataclass(config, fitting.Settings), str(tmp_path))
    assert not list(tmp_path.iterdir())
