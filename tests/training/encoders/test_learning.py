"""An encoder's training: it learns, goes on after a kill with equal results, and says what it cannot do."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, encode
from dnerf_jax.io import checkpoints
from dnerf_jax.io import encoders as encoder_files
from dnerf_jax.models import encoders
from dnerf_jax.models.generator import Generator
from dnerf_jax.training import logs
from dnerf_jax.training.encoders import learning
from dnerf_jax.training.encoders.plan import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tiny_model):
    """The tiny generator with renderings that an encoder can see."""
    config = dataclasses.replace(tiny_model.generator.config, neural_rendering_resolution=16)
    return tiny_model.replace(generator=Generator(config, tiny_model.generator.variables))


@pytest.fixture(scope="module")
def checkpoint(seen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen") / "model"
    checkpoints.save(folder, seen)
    return str(folder)


@pytest.fixture(scope="module")
def settings(shrunk):
    return cli.as_dataclass(shrunk("heads_encoder.py"), Settings)


@pytest.fixture(scope="module")
def straight(settings, checkpoint, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    encode.main(settings, str(workdir), checkpoint)
    return workdir


def test_an_encoder_of_this_generator_is_written_and_scored(straight, seen):
    encoder = encoder_files.load(straight / learning.FOLDER)
    assert encoder.generator == seen.fingerprint
    assert encoder.config.z_dim == seen.generator.config.z_dim
    guess = encoders.guess(encoder, jnp.zeros((3, 20, 20, 3)))
    assert guess.z.shape == (3, 8) and np.isfinite(guess.z).all()
    records = {record["step"]: record for record in logs.read_metrics(straight / "metrics.jsonl")}
    assert set(records) == {4, 6}
    assert {"z", "w", "pose", "yaw", "pitch", "held_out_w", "held_out_yaw"} <= set(records[6])
    assert "held_out_w" not in records[4]


def test_a_killed_run_goes_on_with_equal_results(settings, straight, checkpoint, tmp_path):
    kill(lambda: learning.learn(settings, checkpoint, tmp_path), learning, "train_step", 5)
    assert not (tmp_path / learning.FOLDER).exists()
    resumed = learning.learn(settings, checkpoint, tmp_path)
    # What is written is half as precise as what is returned.
    written = encoder_files.load(tmp_path / learning.FOLDER)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), written, resumed)
    jax.tree.map(np.testing.assert_array_equal, written, encoder_files.load(straight / learning.FOLDER))
    last = [json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1]) for folder in (tmp_path, straight)]
    assert {k: v for k, v in last[0].items() if "second" not in k} == {
        k: v for k, v in last[1].items() if "second" not in k
    }


def test_another_run_in_the_same_folder_is_refused(settings, straight, checkpoint):
    other = dataclasses.replace(settings, learning_rate=1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        learning.learn(other, checkpoint, straight)
    learning.learn(dataclasses.replace(settings, score_every=5), checkpoint, straight)  # nothing is left to do


@pytest.mark.parametrize(
    "change, message",
    [
        ({"network": {"resolution": 32}}, "network.resolution is 32, expected a divisor of .* resolution of 16"),
        ({"data": {"held_out": 6}}, "held_out is 6 of 6 identities: hold out at least one"),
        ({"data": {"held_out": 7}}, "held_out is 7 of 6 identities"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(settings, checkpoint, tmp_path, change, message):
    for name, fields in change.items():
        settings = dataclasses.replace(settings, **{name: dataclasses.replace(getattr(settings, name), **fields)})
    with pytest.raises(ValueError, match=message):
        learning.learn(settings, checkpoint, tmp_path / "run")
    assert not (tmp_path / "run" / "views").exists()


def test_held_out_identities_are_never_trained_on(settings):
    identity = np.arange(settings.data.identities)
    data = {"z": identity, "pose": np.stack([identity] * 2, 1), "image": np.stack([identity] * 2, 1)}
    drawn = [learning.draw(settings, data, step) for step in range(60)]
    trained = settings.data.identities - settings.data.held_out
    assert {int(x) for batch in drawn for x in batch.z} == set(range(trained))
    for batch in drawn:
        assert (batch.z == batch.image).all() and (batch.z == batch.pose).all()
    again = learning.draw(settings, data, 7)
    np.testing.assert_array_equal(again.z, drawn[7].z)


def test_a_few_views_are_learned_by_heart(settings, seen, straight):
    """Of the same undisturbed images at every step the loss falls far below what knowing nothing has."""
    still = dataclasses.replace(settings.disturbances, aligned=0.999, noise=0.0, blur=0.0, color=0.0, background=0.0)
    settings = dataclasses.replace(
        settings,
        disturbances=still,
        learning_rate=1e-2,
        warmup_steps=1,
        steps=80,
        network=dataclasses.replace(settings.network, z_dim=8),
    )
    draws = np.random.default_rng(0)
    batch = learning.Batch(
        draws.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8),
        draws.standard_normal((4, 8)).astype(np.float32),
        draws.uniform(-0.5, 0.5, (4, 2)).astype(np.float32),
    )
    spread, state, losses = learning._spread(seen.generator), learning.create_state(settings), []
    for step in range(80):
        key = jax.random.fold_in(jax.random.key(0), step)
        state, report = learning.train_step(settings.of_step, seen.generator, spread, state, batch, key)
        losses.append(float(report["z"] + report["w"] + report["pose"]))
    assert losses[-1] < 0.3 * losses[0]
