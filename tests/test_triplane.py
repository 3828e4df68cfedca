"""Tri-planes against a slow NumPy reference: pixel centres, zeros outside, axes, and the order of channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax import triplane

YZ_AXES = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
)


def reference_bilinear(image, uv):
    """The definition, one sample and one neighbour at a time, in float64."""
    height, width, channels = image.shape
    out = np.zeros((len(uv), channels))
    for n, (u, v) in enumerate(np.asarray(uv, np.float64)):
        x, y = ((u + 1) * width - 1) / 2, ((v + 1) * height - 1) / 2
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < height and 0 <= column < width:
                    out[n] += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return out


@pytest.mark.parametrize("size", [(4, 4), (3, 7), (1, 5)])
def test_bilinear_is_the_definition(size):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(size + (2,)).astype(np.float32)
    # Well beyond the image, too, and the very corners.
    uv = np.concatenate([rng.uniform(-1.8, 1.8, (200, 2)), [[-1, -1], [1, 1], [-1, 1], [-9, 0], [0, 1e6]]])
    uv = uv.astype(np.float32)
    np.testing.assert_allclose(jax.jit(triplane.bilinear)(image, uv), reference_bilinear(image, uv), atol=2e-6)


def test_bilinear_at_centres_edges_and_outside():
    image = np.ones((4, 4, 1), np.float32)
    image[1, 2] = 7
    centre = lambda i: (2 * i + 1) / 4 - 1  # noqa: E731
    points = [[centre(2), centre(1)], [1.0, 0.0], [1.0, 1.0], [1.25, 0.0], [-1.3, 0.0]]
    # A pixel's own value; half of it on the edge; a quarter in the corner; nothing half a pixel further.
    sampled = jax.jit(triplane.bilinear)(image, np.array(points, np.float32))[:, 0]
    np.testing.assert_allclose(sampled, [7, 0.5, 0.25, 0, 0], atol=1e-6)


def test_gradient_of_bilinear_in_the_image_is_the_interpolation_weight():
    uv = np.array([[0.1, -0.3], [0.99, 0.4], [3.0, 0.0]], np.float32)
    image = np.zeros((4, 5, 1), np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(triplane.bilinear(x, uv))))(image)
    for row in range(4):
        for column in range(5):
            one = image.copy()
            one[row, column] = 1
            np.testing.assert_allclose(gradient[row, column, 0], reference_bilinear(one, uv).sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "expected"), [(triplane.EG3D_AXES, [(0, 1), (0, 2), (2, 0)]), (YZ_AXES, [(0, 1), (0, 2), (1, 2)])]
)
def test_planes_lie_as_their_axes_say(axes, expected):
    points = np.array([[0.1, 0.2, 0.3], [-0.4, 0.6, 0.5]], np.float32)
    uv = triplane.project(points, axes, 2.0)  # a box of side 2: coordinates are the positions
    assert uv.shape == (3, 2, 2)
    for plane, (across, down) in enumerate(expected):
        np.testing.assert_allclose(uv[plane], points[:, [across, down]], atol=1e-7)


def test_the_box_spans_the_planes():
    uv = triplane.project(np.array([[0.35, -0.35, 0.0]], np.float32), triplane.EG3D_AXES, 0.7)
    np.testing.assert_allclose(uv[0, 0], [1, -1], atol=1e-6)


def test_sample_takes_each_scene_and_plane_its_own():
    rng = np.random.default_rng(1)
    planes = rng.standard_normal((2, 2, 3, 5, 6, 4)).astype(np.float32)
    points = rng.uniform(-0.6, 0.6, (2, 2, 7, 3)).astype(np.float32)
    sampled = jax.jit(triplane.sample)(planes, points, box_warp=0.9)
    assert sampled.shape == (2, 2, 3, 7, 4)
    for index in np.ndindex(2, 2):
        for plane, axes in enumerate([(0, 1), (0, 2), (2, 0)]):
            uv = points[index][:, list(axes)] * np.float32(2 / 0.9)
            expected = reference_bilinear(planes[index][plane], uv)
            np.testing.assert_allclose(sampled[index][plane], expected, atol=1e-5)


def test_channels_split_plane_major():
    features = np.broadcast_to(np.arange(12.0), (2, 5, 6, 12))
    planes = triplane.split_channels(features)
    assert planes.shape == (2, 3, 5, 6, 4)
    np.testing.assert_array_equal(planes[1, :, 3, 2], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    assert triplane.split_channels(features, 2).shape == (2, 2, 5, 6, 6)
