"""What an inversion is to do: settings that contradict themselves are refused."""

import dataclasses

import pytest

from dnerf_jax import cli, invert
from dnerf_jax.training.inversion.plan import Settings


@pytest.fixture(scope="module")
def settings():
    return cli.load_settings("invert", Settings)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stages": ("w", "z")}, "stages are .* in this order, each once"),
        ({"stages": ("z", "z")}, "stages are .* each once"),
        ({"free": ("yaw", "yaw")}, "free is .* each number of the camera once"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(settings, **change)


def test_settings_of_a_stage_are_found_by_its_name(settings):
    assert settings.stage("w+") is settings.wplus and settings.stage("z") is settings.z


def test_a_camera_that_is_not_known_cannot_be_refined(settings, tmp_path):
    with pytest.raises(ValueError, match="begins at known cameras"):
        invert.main(settings, str(tmp_path / "out"), "photo.png", refine_camera=True)
    assert not (tmp_path / "out").exists()
