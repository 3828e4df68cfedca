"""Tri-planes against a slow NumPy reference: pixel centres, zeros outside, axes, and the order of channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import triplane

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


def look_up(image, uv):
    """One plane, at points of the box of side 2 whose first two coordinates are uv."""
    points = jnp.pad(jnp.asarray(uv, jnp.float32), ((0, 0), (0, 1)))
    return triplane.sample(jnp.asarray(image)[None], points, plane_axes=triplane.EG3D_AXES[:1], box_warp=2.0)


@pytest.mark.parametrize("at_once", [1000, 64])
@pytest.mark.parametrize("size", [(4, 4), (3, 7), (1, 5)])
def test_sampling_is_bilinear_between_centres(size, at_once, monkeypatch):
    monkeypatch.setattr(triplane, "SAMPLES_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    image = rng.standard_normal((*size, 2)).astype(np.float32)
    # Well beyond the image, too, and the very corners.
    uv = np.concatenate([rng.uniform(-1.8, 1.8, (200, 2)), [[-1, -1], [1, 1], [-1, 1], [-9, 0], [0, 1e6]]])
    uv = uv.astype(np.float32)
    np.testing.assert_allclose(jax.jit(look_up)(image, uv), reference_bilinear(image, uv), atol=2e-6)


def test_values_at_centres_edges_and_outside():
    image = np.ones((4, 4, 1), np.float32)
    image[1, 2] = 7

    def centre(i):
        return (2 * i + 1) / 4 - 1

    points = [[centre(2), centre(1)], [1.0, 0.0], [1.0, 1.0], [1.25, 0.0], [-1.3, 0.0]]
    # A pixel's own value; half of it on the edge; a quarter in the corner; nothing half a pixel further.
    np.testing.assert_allclose(jax.jit(look_up)(image, np.array(points))[:, 0], [7, 0.5, 0.25, 0, 0], atol=1e-6)


def test_gradient_in_a_plane_is_the_interpolation_weight():
    uv = np.array([[0.1, -0.3], [0.99, 0.4], [3.0, 0.0]], np.float32)
    image = np.zeros((4, 5, 1), np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(look_up(x, uv))))(image)
    for row in range(4):
        for column in range(5):
            one = image.copy()
            one[row, column] = 1
            np.testing.assert_allclose(gradient[row, column, 0], reference_bilinear(one, uv).sum(), atol=1e-6)


@pytest.mark.slow
def test_gradients_do_not_depend_on_how_many_samples_are_taken_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    planes = rng.standard_normal((2, 3, 5, 6, 4)).astype(np.float32)
    points = rng.uniform(-0.6, 0.6, (2, 50, 3)).astype(np.float32)

    def gradients(at_once):
        monkeypatch.setattr(triplane, "SAMPLES_AT_ONCE", at_once)

        def total(*arguments):
            return jnp.sum(jnp.sin(triplane.sample(*arguments)))

        return jax.jit(jax.grad(total, argnums=(0, 1)))(planes, points)

    whole = gradients(1000)
    for at_once in (7, 25):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), gradients(at_once), whole)
    # In the points, against the difference quotient of the definition, well within their pixels.
    step, inside = 1e-3, points * 0.5
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(triplane.sample(planes, p))))(inside)
    ahead = jax.jit(triplane.sample)(planes, inside + np.float32([step, 0, 0]))
    behind = jax.jit(triplane.sample)(planes, inside - np.float32([step, 0, 0]))

    def cell(x):
        return np.floor(((2 * x + 1) * np.array([[5], [6]]) - 1) / 2)

    same = (cell(inside[..., 0, None, None] + step) == cell(inside[..., 0, None, None] - step)).all((-1, -2))
    assert same.mean() > 0.8
    quotient = (ahead - behind).sum(-1) / (2 * step)
    np.testing.assert_allclose(gradient[..., 0][same], quotient[same], atol=0.02)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_planes_of_other_precision_have_gradients_of_it(dtype):
    """Each of them is the float32 gradient, rounded; so many small ones add up in the samples' precision."""
    with jax.enable_x64(dtype == "float64"):
        rng = np.random.default_rng(3)
        points = jnp.asarray(rng.uniform(-0.6, 0.6, (300, 3)), jnp.float32)
        planes = jnp.asarray(rng.standard_normal((3, 2, 2, 4)), dtype)
        gradient = jax.jit(jax.grad(lambda *parts: jnp.sum(triplane.sample(*parts)), argnums=(0, 1)))
        ours, whole = gradient(planes, points), gradient(planes.astype(jnp.float32), points)
        assert ours[0].dtype == planes.dtype and ours[1].dtype == points.dtype
        rounding = 1e-5 if dtype == "float64" else 2.0**-8
        for x, y in zip(ours, whole, strict=True):
            np.testing.assert_allclose(np.asarray(x, np.float32), y, rtol=rounding, atol=1e-4)


def test_what_does_not_fit_the_planes_is_refused():
    planes, points = np.zeros((2, 3, 4, 4, 1), np.float32), np.zeros((2, 5, 3), np.float32)
    for wrong in ((planes[:, :2], points), (planes, points[0]), (planes, points[..., :2])):
        with pytest.raises(ValueError, match=r"planes and points have shapes .* expected \(\.\.\., 3, H, W, C\)"):
            triplane.sample(*wrong)


@pytest.mark.parametrize(
    ("axes", "expected"), [(triplane.EG3D_AXES, [(0, 1), (0, 2), (2, 0)]), (YZ_AXES, [(0, 1), (0, 2), (1, 2)])]
)
def test_planes_lie_as_their_axes_say(axes, expected):
    points = np.array([[0.1, 0.2, 0.3], [-0.4, 0.6, 0.5]], np.float32)
    uv = triplane.plane_coordinates(points, axes, 2.0)  # a box of side 2: coordinates are the positions
    assert uv.shape == (2, 3, 2)
    for plane, (across, down) in enumerate(expected):
        np.testing.assert_allclose(uv[:, plane], points[:, [across, down]], atol=1e-7)


def test_the_box_spans_the_planes():
    uv = triplane.plane_coordinates(np.array([[0.35, -0.35, 0.0]], np.float32), triplane.EG3D_AXES, 0.7)
    np.testing.assert_allclose(uv[0, 0], [1, -1], atol=1e-6)


def test_sample_takes_each_scene_and_plane_its_own():
    rng = np.random.default_rng(1)
    planes = rng.standard_normal((2, 2, 3, 5, 6, 4)).astype(np.float32)
    points = rng.uniform(-0.6, 0.6, (2, 2, 7, 3)).astype(np.float32)
    sampled = jax.jit(triplane.sample)(planes, points, box_warp=0.9)
    assert sampled.shape == (2, 2, 7, 4)
    for index in np.ndindex(2, 2):
        uv = points[index] * np.float32(2 / 0.9)
        axes = enumerate([(0, 1), (0, 2), (2, 0)])
        expected = sum(reference_bilinear(planes[index][plane], uv[:, list(pair)]) for plane, pair in axes)
        np.testing.assert_allclose(sampled[index], expected, atol=1e-5)


def test_channels_split_plane_major():
    features = np.broadcast_to(np.arange(12.0), (2, 5, 6, 12))
    planes = triplane.split_channels(features)
    assert planes.shape == (2, 3, 5, 6, 4)
    np.testing.assert_array_equal(planes[1, :, 3, 2], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    assert triplane.split_channels(features, 2).shape == (2, 2, 5, 6, 6)
