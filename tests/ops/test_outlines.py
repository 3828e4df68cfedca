"""Polygons and regions: centres decide, layers give masks back exactly, whatever their holes and islands."""

import numpy as np
import pytest

from dnerf_jax.ops import outlines


def repainted(mask, ground=0):
    canvas = np.full_like(mask, ground)
    for index, ring in outlines.layers(mask, ground):
        canvas[outlines.inside([ring], mask.shape)] = index
    return canvas


def test_centres_decide():
    square = np.array([[1, 1], [3, 1], [3, 4], [1, 4]])
    expected = np.zeros((5, 6), bool)
    expected[1:4, 1:3] = True
    np.testing.assert_array_equal(outlines.inside([square], (5, 6)), expected)
    np.testing.assert_array_equal(outlines.inside([square + 0.49], (5, 6)), expected)
    np.testing.assert_array_equal(outlines.inside([square[::-1]], (5, 6)), expected)
    assert outlines.inside([square * 1e6 - 2e6], (5, 6)).all(), "what lies outside is cut off"
    hole = np.array([[1, 2], [2, 2], [2, 3], [1, 3]])
    expected[2, 1] = False
    np.testing.assert_array_equal(outlines.inside([square, hole], (5, 6)), expected)
    triangle = outlines.inside([np.array([[0, 0], [6, 0], [0, 6]])], (6, 6))
    assert all(triangle[i, : 5 - i].all() and not triangle[i, 6 - i :].any() for i in range(6))
    with pytest.raises(ValueError, match="finite"):
        outlines.inside([np.array([[0, 0], [np.nan, 1], [1, 1]])], (4, 4))


@pytest.mark.parametrize("ground", [0, 255])
def test_layers_give_the_mask_back(ground, generator):
    for classes in (2, 3, 6):
        mask = generator.integers(0, classes, (24, 31)).astype(np.uint8)
        np.testing.assert_array_equal(repainted(mask, ground), mask)
    smooth = np.kron(generator.integers(0, 4, (5, 5)), np.ones((7, 6))).astype(np.uint8)
    smooth[10:14, 10:14] = 255
    np.testing.assert_array_equal(repainted(smooth, ground), smooth)
    assert list(outlines.layers(np.full((4, 4), ground, np.uint8), ground)) == []


def test_nothing_is_drawn_twice():
    mask = np.zeros((9, 9), np.uint8)
    mask[1:8, 1:8] = 1
    mask[3:6, 3:6] = 0  # a hole, which needs a ring of the background
    assert [index for index, _ in outlines.layers(mask, 0)] == [1, 0]
    (_, ring), _ = outlines.layers(mask, 0)
    assert ring.tolist() == [[1, 1], [8, 1], [8, 8], [1, 8]]
