"""Draws: the same for an identity whatever else is there, different between identities, cameras where the plan says."""

import dataclasses

import jax
import numpy as np
import pytest

from dnerf_jax.factory.draws import draw
from dnerf_jax.factory.plan import Plan, Viewpoints
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras


def angles(camera):
    """Yaw and pitch in degrees."""
    position = np.asarray(camera.cam2world)[..., :3, 3]
    yaw = np.degrees(np.arctan2(position[..., 0], position[..., 2]))
    return yaw, np.degrees(np.arcsin(position[..., 1] / np.linalg.norm(position, axis=-1)))


def all_angles(plan, config, number=40):
    pairs = [angles(draw(plan, config, identity)[1]) for identity in range(number)]
    return np.stack([yaw for yaw, _ in pairs]), np.stack([pitch for _, pitch in pairs])


def test_a_draw_is_of_its_seed_identity_and_attempt(tiny_config):
    plan = Plan()
    z, camera = draw(plan, tiny_config, 5)
    assert z.dtype == np.float32 and z.shape == (8,) and camera.cam2world.shape == (4, 4, 4)
    again, _ = draw(dataclasses.replace(plan, num_identities=99, batch=7, shard_size=3), tiny_config, 5)
    np.testing.assert_array_equal(z, again)
    others = [
        draw(plan, tiny_config, 6),
        draw(plan, tiny_config, 5, attempt=1),
        draw(dataclasses.replace(plan, seed=1), tiny_config, 5),
    ]
    for other, turned in others:
        assert not np.allclose(z, other) and not np.allclose(camera.cam2world, turned.cam2world)


def test_a_draw_is_the_same_with_wide_numbers_allowed(tiny_config):
    z, camera = draw(Plan(), tiny_config, 1)
    with jax.enable_x64(True):
        wide_z, wide_camera = draw(Plan(), tiny_config, 1)
    assert (wide_z.dtype, wide_camera.cam2world.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(wide_z, z)
    np.testing.assert_allclose(wide_camera.cam2world, camera.cam2world, atol=1e-6)


def test_uniform_cameras_stay_in_their_limits_one_in_each_part(tiny_config):
    yaw, pitch = all_angles(Plan(viewpoints=Viewpoints("uniform", 40.0, 10.0)), tiny_config)
    edges = np.linspace(-40, 40, 5)
    assert (yaw >= edges[:-1] - 1e-3).all() and (yaw <= edges[1:] + 1e-3).all()
    assert 9 < np.abs(pitch).max() <= 10 + 1e-3


def test_gaussian_cameras_have_their_deviations(tiny_config):
    yaw, pitch = all_angles(Plan(viewpoints=Viewpoints("gaussian", 20.0, 5.0)), tiny_config)
    assert np.std(yaw) == pytest.approx(20, rel=0.2) and np.std(pitch) == pytest.approx(5, rel=0.2)
    assert np.abs(yaw).max() <= 60 + 1e-3 and np.abs(pitch).max() <= 15 + 1e-3


@pytest.mark.parametrize(
    ("chosen", "yaw", "pitch"),
    [
        (Viewpoints("orbit", 30.0, 5.0), [-30, -10, 10, 30], [5] * 4),
        (Viewpoints("orbit", 180.0, 0.0), [-180, -90, 0, 90], [0] * 4),
        (Viewpoints("trajectory", 30.0, 8.0), [0, 30, 0, -30], [8, 0, -8, 0]),
        (
            Viewpoints("fixed", fixed=((0.0, 0.0), (20.0, 5.0), (-20.0, 5.0), (0.0, -9.0))),
            [0, 20, -20, 0],
            [0, 5, 5, -9],
        ),
    ],
)
def test_planned_cameras_are_those_of_every_identity(tiny_config, chosen, yaw, pitch):
    first, other = (draw(Plan(viewpoints=chosen), tiny_config, identity)[1] for identity in (0, 3))
    np.testing.assert_array_equal(first.cam2world, other.cam2world)
    found = angles(first)
    turned = (found[0] - yaw + 180) % 360 - 180  # -180 degrees are 180
    np.testing.assert_allclose(turned, 0, atol=1e-3)
    np.testing.assert_allclose(found[1], pitch, atol=1e-3)


def test_fixed_cameras_may_be_any(tiny_config):
    wanted = cameras.orbit(0.3, 0.1, radius=2.0, focal=3.0)
    numbers = tuple(np.asarray(cameras.to_eg3d(wanted)).tolist())
    _, camera = draw(Plan(views_per_identity=1, viewpoints=Viewpoints("fixed", fixed=(numbers,))), tiny_config, 0)
    np.testing.assert_allclose(camera.cam2world[0], wanted.cam2world, atol=1e-6)
    np.testing.assert_allclose(camera.intrinsics[0], wanted.intrinsics, atol=1e-6)


def test_cameras_are_on_the_generators_own_orbit(tiny_config):
    plan = Plan(views_per_identity=1, viewpoints=Viewpoints("fixed", fixed=((0.0, 0.0),)))
    _, camera = draw(plan, tiny_config, 0)
    frontal = scenes.default_camera(tiny_config)
    np.testing.assert_allclose(camera.cam2world[0], frontal.cam2world, atol=1e-6)
    np.testing.assert_allclose(camera.intrinsics[0], frontal.intrinsics, atol=1e-6)
