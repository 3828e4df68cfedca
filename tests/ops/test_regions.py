"""Regions of an image: what is near, connected, where they move and how they are drawn."""

import numpy as np

from dnerf_jax.ops import regions

R = 32


def square(top, left, side):
    found = np.zeros((R, R), bool)
    found[top : top + side, left : left + side] = True
    return found


def test_near_is_round_and_holds_the_region():
    wide = regions.near(square(10, 10, 4), 3)
    assert wide[7, 12] and not wide[6, 12] and not wide[7, 7] and wide[10:14, 10:14].all()
    assert not regions.near(np.zeros((R, R), bool), 3).any()


def test_connected_reaches_over_what_it_may():
    more = square(0, 0, 8) | square(20, 20, 8)
    found = regions.connected(square(8, 8, 2), more)  # a corner is enough
    assert found[:8, :8].all() and not found[20:].any()
    assert [part.sum() for part in regions.parts(more)] == [64, 64]


def test_what_moves_keeps_its_form_unless_it_bends():
    bar = np.zeros((R, R), bool)
    bar[10:13, 6:25] = True
    np.testing.assert_array_equal(regions.moved(bar, 5.2, -1.9, bend=False), np.roll(bar, (5, -2), (0, 1)))
    bent = regions.moved(bar, 8.0, 0.0, bend=True)
    assert bent[11, 6] and bent[11, 24] and bent[19, 15] and not bent[11, 15]
    np.testing.assert_array_equal(bent[:, 6:25], bent[:, 24:5:-1])
    assert not regions.moved(bar, 40.0, 0.0, bend=False).any()


def test_scaling_is_about_the_centre():
    small = square(12, 12, 8)
    np.testing.assert_array_equal(regions.scaled(small, 1.0, 1.0), small)
    wide = regions.scaled(small, 1.0, 2.0)
    np.testing.assert_array_equal(wide, wide[::-1, ::-1])
    assert wide[15].sum() in (15, 16) and wide[:, 15].sum() == 8
    assert 10 <= regions.scaled(small, 0.5, 0.5).sum() <= 16


def test_shapes_are_drawn_in_image_sizes():
    box = regions.in_box(R, (0.25, 0.5, 0.75, 1.0))
    np.testing.assert_array_equal(np.argwhere(box)[[0, -1]], [[16, 8], [31, 23]])
    points = [(0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0)]
    np.testing.assert_array_equal(regions.in_polygon(R, points), box)
    np.testing.assert_array_equal(regions.in_polygon(R, points[::-1]), box)
    triangle = regions.in_polygon(256, [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9)])
    np.testing.assert_allclose(triangle.mean(), 0.32, atol=0.005)
    ellipse = regions.in_ellipse(256, (0.5, 0.5), (0.4, 0.2))
    np.testing.assert_allclose(ellipse.mean(), np.pi * 0.08, atol=0.002)
    np.testing.assert_array_equal(ellipse, ellipse[::-1, ::-1])
