"""Views of any world: what is stacked is what the world renders; a world's NumPy part loads no JAX."""

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dnerf_jax.worlds import heads, views

RESOLUTION = 24
FIELDS = [field.name for field in dataclasses.fields(views.Views)]


def test_views_are_the_worlds_own():
    z = np.random.default_rng(3).standard_normal(heads.Z_DIM)
    poses = [heads.orbit(-20, 0), heads.orbit(25, 5)]
    made = views.render(heads, z, poses, RESOLUTION)
    head = heads.build(z)
    assert len(made) == 2
    for number, (cam2world, intrinsics) in enumerate(poses):
        view = heads.render(head, cam2world, intrinsics, RESOLUTION)
        for name in ("image", "mask", "depth_z", "distance"):
            np.testing.assert_array_equal(getattr(made, name)[number], getattr(view, name))
            assert getattr(made, name).dtype == getattr(view, name).dtype
        np.testing.assert_array_equal(made.alpha[number], np.round(view.alpha * 255))
        np.testing.assert_array_equal(made.cam2world[number], cam2world)
        np.testing.assert_array_equal(made.intrinsics[number], intrinsics)
        np.testing.assert_array_equal(made.z[number], z)
        assert made.metres_per_unit[number] == head.metres_per_unit


def test_a_world_is_whatever_builds_and_renders():
    """A world that is no module: a flat picture of its latent; the scene is built once, however many views."""
    built = []

    def build(z):
        built.append(z)
        return SimpleNamespace(value=z[0], metres_per_unit=2.0)

    def render(scene, cam2world, intrinsics, resolution):
        plane = np.full((resolution, resolution), scene.value, np.float32)
        image = np.zeros((resolution, resolution, 3), np.uint8)
        return SimpleNamespace(image=image, mask=image[..., 0], alpha=plane, depth_z=plane, distance=plane)

    world = SimpleNamespace(build=build, render=render)
    one = views.render(world, np.array([0.5]), [(np.eye(4), np.eye(3))] * 3, 2)
    other = views.render(world, np.array([1.0]), [(np.eye(4), np.eye(3))], 2)
    both = views.concatenate([one, other])
    assert len(built) == 2 and len(both) == 4
    np.testing.assert_array_equal(both.alpha[:, 0, 0], [128, 128, 128, 255])
    np.testing.assert_array_equal(both.z[:, 0], [0.5, 0.5, 0.5, 1.0])
    assert both.canonical is None and all(len(getattr(both, name)) == 4 for name in FIELDS if name != "canonical")


def test_nothing_to_render_is_refused():
    with pytest.raises(ValueError, match="no poses"):
        views.render(heads, np.zeros(heads.Z_DIM), [], RESOLUTION)
    with pytest.raises(ValueError, match="no views"):
        views.concatenate([])


def test_a_world_needs_neither_jax_nor_flax_nor_orbax():
    source = (
        "import sys; from dnerf_jax.worlds import heads, streams, views; "
        "views.render(heads, streams.stream('identities', 0).standard_normal(heads.Z_DIM), [heads.orbit(0, 0)], 8); "
        "print(*sorted({'jax', 'jaxlib', 'flax', 'orbax', 'optax', 'absl', 'ml_collections'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
