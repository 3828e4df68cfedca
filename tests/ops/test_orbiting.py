"""Orbits: cameras of numbers there and back, equal to the default camera's, differentiable, and which way they turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras, orbiting
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.orbiting import Orbit

PIVOT = (0.1, -0.2, 0.05)
to_camera, of_camera = jax.jit(orbiting.camera), jax.jit(orbiting.of_camera)
angles_between = jax.jit(orbiting.angles_between)


def some_orbits(generator, count=40):
    """Orbits all around, looking at different pivots, rolled by up to half a turn."""
    draw = generator.uniform
    yaw, roll = draw(-np.pi, np.pi, (2, count))
    numbers = yaw, draw(-1.5, 1.5, count), roll, draw(1.5, 4.0, count), draw(-0.4, 0.4, (count, 3))
    return Orbit(*map(np.float32, (*numbers, draw(1.0, 5.0, count), draw(0.3, 0.7, (count, 2)))))


def assert_same(a, b, atol=2e-6):
    np.testing.assert_allclose(a.cam2world, b.cam2world, atol=atol)
    np.testing.assert_allclose(a.intrinsics, b.intrinsics, atol=atol)


def test_the_default_is_the_generators_own_camera_exactly(tiny_config):
    rendering = tiny_config.rendering
    numbers = {
        "radius": rendering.avg_camera_radius,
        "pivot": rendering.avg_camera_pivot,
        "focal": rendering.avg_camera_focal,
    }
    for yaw, pitch in [(0.0, 0.0), (0.4, -0.2), (np.linspace(-1, 1, 5), 0.1)]:
        made = orbiting.camera(orbiting.default(**numbers, yaw=yaw, pitch=pitch))
        expected = scenes.default_camera(tiny_config, yaw, pitch)
        np.testing.assert_array_equal(made.cam2world, expected.cam2world)
        np.testing.assert_array_equal(made.intrinsics, expected.intrinsics)


def test_without_roll_it_is_the_cameras_orbit(generator):
    orbits = some_orbits(generator)
    for index in range(5):
        one = orbits.replace(roll=np.zeros(40, np.float32), center=np.full((40, 2), 0.5, np.float32))[index]
        expected = cameras.orbit(one.yaw, one.pitch, radius=one.radius, pivot=one.pivot, focal=one.focal)
        np.testing.assert_array_equal(orbiting.camera(one).cam2world, expected.cam2world)
        np.testing.assert_array_equal(orbiting.camera(one).intrinsics, expected.intrinsics)


def test_there_and_back(generator):
    """The cameras come back whatever the pivot; the orbit, too, if its pivot is the one that is named."""
    made = to_camera(some_orbits(generator))
    cameras.validate(made)
    assert_same(to_camera(of_camera(made)), made)
    orbits = some_orbits(generator).replace(pivot=np.float32(PIVOT))
    back = of_camera(to_camera(orbits), pivot=PIVOT)
    for name in ("yaw", "roll"):
        turned = np.angle(np.exp(1j * (getattr(back, name) - getattr(orbits, name))))
        np.testing.assert_allclose(turned, 0, atol=3e-5)  # yaw is uncertain near the poles
    for name in ("pitch", "radius", "pivot", "focal", "center"):
        wanted = np.broadcast_to(getattr(orbits, name), getattr(back, name).shape)
        np.testing.assert_allclose(getattr(back, name), wanted, atol=3e-6)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_above_and_below_there_and_back(pitch):
    orbit = orbiting.default(radius=2.7, pivot=(0.0, 0.0, 0.0), focal=4.0, yaw=np.linspace(-3, 3, 7), pitch=pitch)
    made = to_camera(orbit.replace(roll=jnp.full(7, 0.4)))
    assert_same(to_camera(of_camera(made)), made, atol=1e-6)


def test_a_camera_that_looks_away_has_a_pivot_before_it():
    made = cameras.orbit(0.3, 0.1)
    away = Camera(made.cam2world @ jnp.diag(jnp.array([-1.0, 1.0, -1.0, 1.0])), made.intrinsics)
    orbit = orbiting.of_camera(away)
    np.testing.assert_allclose(np.linalg.norm(orbit.pivot - away.cam2world[:3, 3]), orbit.radius, rtol=1e-5)
    assert_same(orbiting.camera(orbit), away)


def test_positive_roll_turns_the_picture_counter_clockwise():
    orbit = orbiting.default(radius=2.7, pivot=(0.0, 0.0, 0.0), focal=4.0)
    above = jnp.array([[0.0, 0.2, 0.0]])
    level, _ = cameras.project(orbiting.camera(orbit), above)
    turned, _ = cameras.project(orbiting.camera(orbit.replace(roll=jnp.float32(0.5))), above)
    assert level[0, 0] == 0.5 and level[0, 1] < 0.5
    assert turned[0, 0] < 0.5 and turned[0, 1] < 0.5  # what was above is now to the upper left


def test_gradients_are_finite_in_every_field(generator):
    def total(orbit):
        camera = orbiting.camera(orbit)
        return jnp.sum(camera.cam2world**3 * jnp.arange(16.0).reshape(4, 4)) + jnp.sum(camera.intrinsics**2)

    orbits = some_orbits(generator)
    orbits = orbits.replace(pitch=np.r_[np.float32([np.pi / 2, -np.pi / 2]), orbits.pitch[2:]])
    gradients = jax.jit(jax.grad(total))(orbits)
    for name, gradient in vars(gradients).items():
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, name


def test_fields_broadcast_and_are_indexed():
    orbit = orbiting.default(radius=2.7, pivot=PIVOT, focal=[3.0, 4.0], yaw=np.zeros((3, 1)))
    assert orbit.batch_shape == (3, 2) and orbiting.camera(orbit).batch_shape == (3, 2)
    assert orbit[1, 0].pivot.shape == (3,) and len(orbit) == 3
    mixed = Orbit(jnp.zeros(4), 0.1, 0.0, 2.7, jnp.zeros(3), 4.0, jnp.full(2, 0.5))
    assert mixed[2].pitch.shape == () and orbiting.camera(mixed).batch_shape == (4,)


def test_angles_between_cameras(generator):
    """What was added comes out, whatever else differs; over the whole turn the short way."""
    a = some_orbits(generator)
    a = a.replace(pitch=np.clip(a.pitch, -1.0, 1.0))
    off = np.radians(np.float32([3.0, -2.0, 5.0]))
    b = a.replace(yaw=a.yaw + off[0], pitch=a.pitch + off[1], roll=a.roll + off[2], radius=a.radius * 1.1)
    found = angles_between(to_camera(a), to_camera(b))
    np.testing.assert_allclose(found.yaw, 3.0, atol=1e-3)
    np.testing.assert_allclose(found.pitch, -2.0, atol=1e-3)
    same_place = angles_between(to_camera(a), to_camera(a.replace(roll=a.roll + off[2])))
    np.testing.assert_allclose(same_place.roll, 5.0, atol=1e-3)
    around = angles_between(cameras.orbit(np.radians(179.0), 0.0), cameras.orbit(np.radians(-179.0), 0.0))
    np.testing.assert_allclose(around.yaw, 2.0, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yaw": 20.0}, "degrees become radians"),
        ({"pitch": 1.7}, "pitch is 1.7"),
        ({"roll": np.nan}, "roll is nan"),
        ({"radius": 0.0}, "radius is 0"),
        ({"focal": 500.0}, "focal is 500.*pixels"),
        ({"pivot": jnp.zeros(2)}, r"pivot has shape \(2,\)"),
        ({"pivot": jnp.array([0.0, 0.0, 2.7])}, "look at itself"),
    ],
)
def test_what_is_no_orbit_is_refused(change, message):
    orbit = orbiting.default(radius=2.7, pivot=(0.0, 0.0, 0.0), focal=4.0)
    with pytest.raises(ValueError, match=message):
        orbiting.camera(orbit.replace(**{name: jnp.asarray(value) for name, value in change.items()}))


def test_what_no_orbit_expresses_is_refused():
    pose, k = np.eye(4, dtype=np.float32), np.float32([[3.1, 0, 0.5], [0, 2.7, 0.5], [0, 0, 1]])
    with pytest.raises(ValueError, match="at the origin"):
        orbiting.of_camera(Camera(pose, cameras.pinhole()))
    with pytest.raises(ValueError, match="focal lengths 3.1 and 2.7.*square pixels"):
        orbiting.of_camera(Camera(cameras.orbit(0.0, 0.0).cam2world, k))
