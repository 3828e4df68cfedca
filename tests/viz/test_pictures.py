"""Pictures: what is drawn where, in which colour."""

import numpy as np
import pytest

from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import pictures

# Frontal camera at z = 2: OpenCV axes, so y and z point the other way than the world's.
FRONTAL = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1]], np.float32)
INTRINSICS = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]], np.float32)
CAMERA = cameras.Camera(FRONTAL, INTRINSICS)
RED, GREEN, BLUE = np.eye(3, dtype=np.uint8) * 255


def test_depth_picture_is_bright_near_dark_far_pale_where_empty():
    depth = np.array([[2.0, 2.5, 3.0], [np.inf, 0.0, np.nan]])
    picture = pictures.depth_picture(depth, near=2, far=3).astype(int)
    brightness = picture.sum(-1)
    assert brightness[0, 0] > brightness[0, 1] > brightness[0, 2]
    assert (picture[1] == picture[1, 0]).all() and brightness[1, 0] > brightness[0, 0]
    lower_order = pictures.depth_picture(np.linspace(1, 2, 64)[None]).astype(int).sum(-1)[0]
    assert (np.diff(lower_order) <= 0).all()


def test_depth_pictures_with_the_same_range_are_comparable():
    one = pictures.depth_picture(np.array([[2.0, 2.2]]), near=2, far=4)
    other = pictures.depth_picture(np.array([[2.2, 4.0]]), near=2, far=4)
    np.testing.assert_array_equal(one[0, 1], other[0, 0])


def test_an_empty_depth_map_is_drawn():
    assert len(np.unique(pictures.depth_picture(np.full((3, 4), np.inf)).reshape(-1, 3), axis=0)) == 1


def test_difference_is_red_exactly_where_masks_differ():
    label = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)
    prediction = np.array([[0, 2, 1], [2, 1, 0]], np.uint8)
    picture = pictures.difference_picture(label, prediction).astype(int)
    red = picture[..., 0] > picture[..., 1] + 100
    np.testing.assert_array_equal(red, [[False, True, False], [False, True, False]])
    on_image = pictures.difference_picture(label, prediction, np.zeros((2, 3, 3), np.uint8))
    assert (on_image[red] == picture[red]).all() and (on_image[~red] < picture[~red]).all()
    with pytest.raises(ValueError, match="one size"):
        pictures.difference_picture(label, prediction[:1])


def test_overlay_mixes():
    mixed = pictures.overlay(np.full((1, 1, 3), 100, np.uint8), RED.reshape(1, 1, 3), opacity=0.25)
    np.testing.assert_array_equal(mixed[0, 0], [139, 75, 75])


def test_cloud_lands_where_the_camera_sees_it():
    # 0.249 world units off the axis at distance 2 are 2 * 0.249 / 2 of the image: just under 16 of 64 pixels.
    points = np.array([[0, 0, 0], [0.249, 0, 0], [0, 0.249, 0], [0, 0, 3], [9, 0, 0]])
    colors = np.stack([RED, GREEN, BLUE, RED, RED])
    picture = pictures.cloud_picture(points, colors, CAMERA, 64, radius=0)
    drawn = {tuple(map(int, pixel)) for pixel in np.argwhere((picture != 255).any(-1))}
    assert drawn == {(32, 32), (32, 47), (16, 32)}  # (row, column): middle, right, up
    np.testing.assert_array_equal(picture[32, 47], GREEN)
    np.testing.assert_array_equal(picture[16, 32], BLUE)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearest_point_of_a_cloud_is_in_front(order):
    points, colors = np.array([[0, 0, 0.5], [0, 0, -0.5]]), np.stack([GREEN, RED])
    picture = pictures.cloud_picture(points[order], colors[order], CAMERA, 32, radius=2)
    shown = picture[(picture != 255).any(-1)]
    assert len(shown) == 21  # a disc of radius 2
    np.testing.assert_array_equal(shown, np.broadcast_to(GREEN, shown.shape))


def test_sheet_centres_pictures_in_cells():
    big, small = np.full((20, 30, 3), 10, np.uint8), np.full((10, 10), 200, np.uint8)
    drawn = pictures.sheet([[big, small], [small]], pad=2)
    assert drawn.shape == (2 + 2 * 22, 2 + 2 * 32, 3)
    np.testing.assert_array_equal(drawn[2:22, 2:32], big)
    assert (drawn[7:17, 44:54] == 200).all()
    assert (drawn[24:, 34:] == 255).all()


def test_labels_make_room_and_leave_pictures_alone():
    picture = np.full((40, 40, 3), 10, np.uint8)
    plain = pictures.sheet([[picture]])
    labelled = pictures.sheet([[picture]], row_labels=["single"], column_labels=["mask"])
    assert labelled.shape[0] > plain.shape[0] and labelled.shape[1] > plain.shape[1] + 20
    np.testing.assert_array_equal(labelled[-44:-4, -44:-4], picture)
    assert (labelled[:, :10] < 128).any() and (labelled[:12, -44:] < 128).any()


def test_sheet_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match="at least one"):
        pictures.sheet([[]])
    with pytest.raises(ValueError, match="float64"):
        pictures.sheet([[np.zeros((4, 4, 3))]])


def test_enlarge_repeats_pixels():
    np.testing.assert_array_equal(pictures.enlarge(np.array([[1, 2]]), 2), [[1, 1, 2, 2], [1, 1, 2, 2]])


@pytest.mark.slow
def test_curves_show_their_data():
    steps = np.arange(300)
    falling = pictures.curve_picture({"loss": (steps, 1 / (1 + steps))}, size=(3, 2))
    flat = pictures.curve_picture({"loss": (steps, np.full(300, np.nan))}, size=(3, 2))
    assert falling.shape == (300, 450, 3) and falling.dtype == np.uint8
    blue = (falling[..., 2].astype(int) - falling[..., 0]) > 60
    rows_left, rows_right = (np.nonzero(part.any(axis=1))[0] for part in (blue[:, :100], blue[:, -100:]))
    assert rows_left.min() < rows_right.min()  # begins high, ends low
    assert not ((flat[..., 2].astype(int) - flat[..., 0]) > 60).any()


def test_normals_are_colours_and_nothing_is_pale():
    normal = np.zeros((2, 2, 3), np.float32)
    normal[0, 0], normal[0, 1] = (1, 0, 0), (0, 0, -1)
    picture = pictures.normal_picture(normal)
    assert picture[0, 0].tolist() == [255, 128, 128] and picture[0, 1].tolist() == [128, 128, 0]
    assert (picture[1] == picture[1, 0]).all() and picture[1, 0].min() > 230


def test_shares_are_dark_to_bright():
    picture = pictures.share_picture(np.array([[0.0, 0.5, 1.0, 2.0]]))[0].astype(int).sum(-1)
    assert picture[0] < picture[1] < picture[2] == picture[3]


def test_a_labelled_sheet_shows_masks_over_their_own_images_evenly_spread():
    labels = LabelMap(("background", "skin"), ((0, 0, 0), (200, 0, 0)))
    images = np.broadcast_to(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * 20, (10, 40, 40, 3))
    masks = np.zeros((10, 40, 40), np.uint8)
    masks[:, :, 20:] = 1
    sheet = pictures.labelled_sheet(images, masks, labels, most=4, columns=3)
    assert sheet.shape == (4 + 2 * 44, 4 + 3 * 44, 3)
    for place, view in enumerate((0, 3, 6, 9)):
        row, column = divmod(place, 3)
        cell = sheet[4 + 44 * row :, 4 + 44 * column :][:40, :40].astype(int)
        np.testing.assert_array_equal(cell[35, 5], 20 * view)
        np.testing.assert_array_equal(cell[35, 35], [100 + 10 * view, 10 * view, 10 * view])
        assert (cell[:12, :12] == 244).any() and (cell[:12, :12].sum(-1) < 300).any()
    large = pictures.labelled_sheet(np.zeros((1, 600, 600, 3), np.uint8), np.ones((1, 600, 600), np.uint8), labels)
    assert large.shape == (8 + 200, 8 + 200, 3)
