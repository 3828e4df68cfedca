"""What an inversion says of what it found: doubts where there are any, and poses in degrees."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax import cli
from dnerf_jax.training.inversion import results
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Target
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.stages import Outcome
from dnerf_jax.training.inversion.subject import Subject
from dnerf_jax.training.inversion.targets import Given


@pytest.fixture(scope="module")
def settings(shrunk):
    """Poses are looked for within 45 and 20 degrees."""
    return cli.as_dataclass(shrunk("invert.py"), Settings)


@pytest.fixture(scope="module")
def given():
    """Two photos."""
    target = Target(jnp.zeros((2, 16, 16, 3)), None, jnp.ones((2, 16, 16)))
    return Given(target, ("views/a.png", "views/b.png"), None, ())


def outcomes(model, scores, yaw=(0.1, 0.2), pitch=(0.0, 0.1)):
    orbit = subjects.default_orbit(model, jnp.asarray(yaw), jnp.asarray(pitch))
    subject = Subject(jnp.zeros(8), None, orbit)
    return [Outcome("start", subject, (), 1.0, dict.fromkeys(scores, 0.0)), Outcome("z", subject, (), 1.0, scores)]


def test_nothing_is_said_where_nothing_speaks_against_it(settings, given, tiny_model):
    assert results.doubts(settings, given, outcomes(tiny_model, {"psnr": 33.0, "miou": 0.9})) == ()


@pytest.mark.parametrize("scores", [{"psnr": 20.0}, {"miou": 0.4, "accuracy": 0.9}, {"psnr": float("nan")}])
def test_what_is_far_from_the_input_is_doubted(settings, given, tiny_model, scores):
    (text,) = results.doubts(settings, given, outcomes(tiny_model, scores))
    assert "not reconstructed well" in text or "the mask is not met well: mIoU 0.40" in text


def test_poses_at_the_limits_are_doubted_unless_they_were_known(settings, given, tiny_model):
    found = outcomes(tiny_model, {"psnr": 33.0}, np.radians([10.0, -44.5]), np.radians([19.9, 3.0]))
    yaw, pitch = results.doubts(settings, given, found)
    assert "yaw is -44.5 degrees in b.png, at the limit of 45" in yaw and "pitch is 19.9 degrees in a.png" in pitch
    known = dataclasses.replace(given, known=found[0].subject.orbit)
    assert results.doubts(settings, known, found) == ()


def test_poses_are_degrees(tiny_model):
    pose = results.degrees(outcomes(tiny_model, {"psnr": 33.0})[0].subject)
    np.testing.assert_allclose(pose["yaw"], np.degrees([0.1, 0.2]), rtol=1e-6)
    assert np.shape(pose["pivot"]) == (2, 3) and pose["roll"] == [0, 0]
    assert pose["focal"] == pytest.approx([tiny_model.generator.config.rendering.avg_camera_focal] * 2)
