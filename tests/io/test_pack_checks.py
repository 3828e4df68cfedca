"""Fields that make no sense are named; masks that are not of what is rendered are found, right ones left in peace."""

import dataclasses

import numpy as np
import pytest
from random_pack import LABELS, SIZE, make_pack

from dnerf_jax.io import pack_checks, packs
from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap

SIDE = 64


def refuse(pack):
    raise ValueError(pack_checks.field_problems(vars(pack)))


def nan_latent(pack):
    pack.z[3, 0] = np.nan


def negative_ids(pack):
    pack.latent_id[:2] = -1


def other_latent_of_one_id(pack):
    pack.z[1] += 1


def one_latent_of_two_ids(pack):
    pack.z[:4] = pack.z[0]


def scaled_camera(pack):
    pack.cam2world[4, :3, :3] *= 2


def opengl_cameras(pack):
    pack.cam2world[:] = cameras.flip_opengl(pack.cam2world)


def world_to_camera(pack):
    pack.cam2world[:] = np.linalg.inv(pack.cam2world)


def pixel_intrinsics(pack):
    pack.intrinsics[2, :2] *= 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan_latent, r"latents of views 3 are not finite"),
        (negative_ids, r"latent_ids of views 0, 1 are negative"),
        (other_latent_of_one_id, r"views 0, 1 have one latent_id, but different latents"),
        (one_latent_of_two_ids, r"views 0, 1, 2, 3 have one latent z, but different latent_ids"),
        (scaled_camera, r"cameras of views 4: .*orthonormal"),
        (opengl_cameras, r"cameras of views 0, 1, 2, 3, 4, 5: they look away.*flip_opengl"),
        (world_to_camera, r"cameras of views 0, 1, 2, 3, 4, 5: .*world-to-camera"),
        (pixel_intrinsics, r"cameras of views 2: .*divided by the image size"),
    ],
)
def test_views_that_make_no_sense_are_named(change, message):
    pack = make_pack()
    change(pack)
    with pytest.raises(ValueError, match=message):
        refuse(pack)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": np.zeros((6, 2, 2))}, r"z has shape \(6, 2, 2\), expected \(N, z_dim\)"),
        ({"z": np.zeros((5, 8))}, r"numbers of views must be equal.*'z': 5"),
        ({"z": np.zeros((6, 8), int)}, r"z has type int64, expected floats"),
        ({"latent_id": np.zeros(6)}, r"latent_id has type float32, expected integers"),
        ({"latent_id": np.zeros((6, 1), int)}, r"latent_id has shape \(6, 1\), expected \(N\)"),
        ({"cam2world": np.zeros((6, 3, 4))}, r"cam2world has shape \(6, 3, 4\), expected \(N, 4, 4\)"),
        ({"images": np.zeros((6, SIZE, SIZE, 3))}, r"images has type float64, expected uint8"),
        ({"images": np.zeros((6, SIZE, 8, 3), np.uint8)}, r"images has shape .*expected \(N, 16, 16, 3\)"),
        ({"masks": np.zeros((6, 8, 8), np.uint8)}, r"masks has shape \(6, 8, 8\), expected \(N, 16, 16\)"),
        ({"fingerprint": ""}, "fingerprint is '', expected a non-empty string"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        refuse(make_pack(**changes))


def disc(x, y, radius):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.fixture(scope="module")
def solid():
    """Where six views have something: a large disc and a small one, in other places each, (6, 64, 64)."""
    centers = np.random.default_rng(0).integers(22, 30, (6, 2))
    return np.stack([disc(x, y, 16) | disc(50 - 2 * view, 12, 5) for view, (x, y) in enumerate(centers)])


@pytest.fixture(scope="module")
def masks(solid):
    """Their labels: hair above, skin below."""
    return np.where(solid, np.where(np.arange(SIDE)[:, None] < 24, 2, 1), 0).astype(np.uint8)


def problems(solid, masks):
    return [pack_checks.mask_problem(view, solid[view], masks) for view in range(len(masks))]


def test_right_masks_pass_however_they_were_drawn(solid, masks):
    ignored, few = masks.copy(), np.zeros_like(masks)
    ignored[:, ::2] = LabelMap.IGNORE
    few[:, 0, 0] = 1
    partial = [np.where(masks == index, masks, 0) for index in (1, 2)]
    beside = np.roll(masks, 1, axis=2)
    for right in (masks, ignored, beside, few, *partial):
        assert problems(solid, right) == [""] * 6


def test_masks_of_other_views_are_found(solid, masks):
    for shift in (1, -1, 2):
        found = problems(solid, np.roll(masks, shift, axis=0))
        assert all(found)
        for view, text in enumerate(found):
            assert f"the mask of view {view} does not lie" in text and "out of step" in text
            assert f"but the mask of view {(view + shift) % 6} does (1.00)" in text


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        (lambda masks: masks[:, :, ::-1], "mirrored"),
        (lambda masks: masks[:, ::-1], "upside down"),
        (lambda masks: masks[:, ::-1, ::-1], "turned by 180 degrees"),
        (lambda masks: np.rot90(masks, 1, (1, 2)), "turned by 90 degrees to the right"),
        (lambda masks: np.rot90(masks, -1, (1, 2)), "turned by 90 degrees to the left"),
        (lambda masks: masks.swapaxes(1, 2), "transposed"),
    ],
)
def test_masks_that_were_turned_are_found(solid, masks, turn, name):
    found = problems(solid, turn(masks))
    assert all(f"but the same mask {name} does (1.00)" in text and "not turned alike" in text for text in found)


def test_masks_of_something_else_are_found(solid, masks):
    for wrong in (np.roll(masks, 24, axis=2), np.where(masks == 0, 1, 0).astype(np.uint8)):
        assert all("lies where nothing is rendered" in text for text in problems(solid, wrong))


def test_where_nothing_is_empty_nothing_is_said(masks):
    assert problems(np.ones_like(masks, bool), np.roll(masks, 1, axis=0)) == [""] * 6
    assert problems(np.zeros_like(masks, bool), masks) == [""] * 6


def problems_of(pack, model):
    return pack_checks.rendering_problems(pack, model, 2)


def test_images_come_before_masks_and_say_what_truncation_was_taken(solid, masks, monkeypatch):
    camera = cameras.orbit(np.linspace(-0.5, 0.5, 6), 0.0)
    large = np.repeat(np.repeat(masks, 2, axis=1), 2, axis=2)
    pack = packs.Annotations(
        images=np.where(large[..., None] > 0, np.arange(6).reshape(-1, 1, 1, 1) * 20, 255)
        .repeat(3, -1)
        .astype(np.uint8),
        masks=large,
        z=np.random.default_rng(1).normal(size=(6, 4)),
        cam2world=camera.cam2world,
        intrinsics=camera.intrinsics,
        latent_id=np.arange(6),
        label_map=LABELS,
        fingerprint="abc",
        name="discs",
        truncation_psi=0.7,
    )
    asked = []

    def render(generator, z, psi, camera, pose):
        view = int(np.argmin(np.abs(pack.z - np.asarray(z)).sum(1)))
        asked.append((view, psi))
        return pack.images[view] / 127.5 - 1, np.float32(large[view] > 0)

    class OnlyAGenerator:
        generator = None

    monkeypatch.setattr(pack_checks, "rendered", render)
    assert pack_checks.rendering_problems(pack, OnlyAGenerator, 4) == []
    assert asked == [(0, 0.7), (2, 0.7), (3, 0.7), (5, 0.7)]
    assert pack_checks.rendering_problems(pack, OnlyAGenerator, 0) == []
    shifted = dataclasses.replace(pack, masks=np.roll(large, 1, axis=0))
    assert ["masks and images are out of step" in text for text in problems_of(shifted, OnlyAGenerator)] == [True] * 2
    dark = dataclasses.replace(shifted, images=255 - pack.images)
    found = problems_of(dark, OnlyAGenerator)
    assert ["not made with truncation_psi 0.7, as the pack says" in text for text in found] == [True] * 2
