"""What is read to be inverted: photos, masks and cameras of every kind, and clear refusals of all others."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import face_crops, png
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras, orbiting
from dnerf_jax.training.inversion import targets

SIZE = 48  # of the photos; the tiny model's images have 16
RAMP = np.linspace(0, 255, SIZE).astype(np.uint8)
RGB = np.stack([np.tile(RAMP, (SIZE, 1)), np.tile(RAMP[:, None], (1, SIZE)), np.full((SIZE, SIZE), 90, np.uint8)], -1)
IDS = np.kron(np.arange(16).reshape(4, 4) % 5, np.ones((12, 12))).astype(np.uint8)


@pytest.fixture
def photo(tmp_path):
    """A photo of the generator's ground, black, in the upper corners."""
    picture = RGB.copy()
    picture[:8] = 0
    png.save_image(tmp_path / "photo.png", picture)
    return str(tmp_path / "photo.png")


@pytest.fixture
def mask(tmp_path, tiny_semantic_model):
    png.save_mask(tmp_path / "mask.png", IDS, tiny_semantic_model.label_map)
    return str(tmp_path / "mask.png")


def camera_file(path, model, yaw=0.3, **changes):
    """The camera of a view's JSON."""
    camera = scenes.default_camera(model, yaw, 0.1)
    content = {"cam2world": np.asarray(camera.cam2world).tolist(), "intrinsics": np.asarray(camera.intrinsics).tolist()}
    path.write_text(json.dumps(content | changes))
    return str(path)


def test_photo_mask_and_camera_become_a_target(tiny_semantic_model, photo, mask, tmp_path):
    camera = camera_file(tmp_path / "camera.json", tiny_semantic_model)
    given = targets.read(tiny_semantic_model, photo, mask, camera, class_balance=0.2)
    target = given.target
    assert target.image.shape == (1, 16, 16, 3) and target.mask.shape == target.weights.shape == (1, 16, 16)
    assert given.names == (photo,) and given.notes == () and target.class_weights.shape == (5,)
    np.testing.assert_array_equal(target.mask[0], IDS[1::3, 1::3])
    made, true = orbiting.camera(given.known), scenes.default_camera(tiny_semantic_model, 0.3, 0.1)
    np.testing.assert_allclose(made.cam2world[0], true.cam2world, atol=1e-6)
    options = tiny_semantic_model.generator.config.rendering
    np.testing.assert_allclose(given.known.pivot[0], options.avg_camera_pivot, atol=1e-6)
    alone = targets.read(tiny_semantic_model, "", mask)
    assert alone.target.image is None and alone.known is None and alone.target.class_weights is None
    assert targets.read(tiny_semantic_model, photo).target.mask is None


def test_several_views_are_named_by_commas_or_a_folder(tiny_model, photo, tmp_path):
    folder = tmp_path / "views"
    folder.mkdir()
    for name in ("b", "a"):
        png.save_image(folder / f"{name}.png", RGB)
    (folder / "cameras.json").write_text("{}")
    assert [name[-5:] for name in targets.read(tiny_model, str(folder)).names] == ["a.png", "b.png"]
    given = targets.read(tiny_model, f"{folder / 'b.png'}, {photo}")
    assert given.target.image.shape == (2, 16, 16, 3) and given.names == (str(folder / "b.png"), photo)
    poses = {
        name: {"cam2world": np.asarray(c.cam2world).tolist(), "intrinsics": np.asarray(c.intrinsics).tolist()}
        for name, c in (("b", scenes.default_camera(tiny_model, 0.2)), ("a", scenes.default_camera(tiny_model, -0.2)))
    }
    (folder / "cameras.json").write_text(json.dumps(poses))
    known = targets.read(tiny_model, str(folder), "", str(folder / "cameras.json")).known
    np.testing.assert_allclose(known.yaw, [-0.2, 0.2], atol=1e-6)
    png.save_image(tmp_path / "a,b.png", RGB)
    assert len(targets.files_of(str(tmp_path / "a,b.png"), "image")) == 1


def test_photos_of_every_kind_are_taken_and_it_is_said(tiny_model, tmp_path):
    """Alpha, grey, 16 bits, turned by EXIF, small, not square, beyond its edges."""
    cut = Image.fromarray(RGB).convert("RGBA")
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    alpha[:24] = 0
    cut.putalpha(Image.fromarray(alpha))
    cut.save(tmp_path / "cut.png")
    given = targets.read(tiny_model, str(tmp_path / "cut.png"))
    assert (np.asarray(given.target.image)[0, :5] == -1).all() and "cut.png: what is transparent" in given.notes[0]
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    assert any("grey.png: it is grey" in note for note in targets.read(tiny_model, str(tmp_path / "grey.png")).notes)
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    deep, grey = (targets.read(tiny_model, str(tmp_path / f"{name}.png")).target.image for name in ("deep", "grey"))
    np.testing.assert_allclose(deep, grey, atol=0.01)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RGB).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = targets.read(tiny_model, str(tmp_path / "turned.png"))
    png.save_image(tmp_path / "straight.png", RGB)
    np.testing.assert_allclose(
        turned.target.image, targets.read(tiny_model, str(tmp_path / "straight.png")).target.image, atol=1e-6
    )
    assert "turned.png: it is turned" in turned.notes[0]
    wide = tmp_path / "wide.png"
    png.save_image(wide, np.concatenate([RGB, RGB], axis=1))
    assert targets.read(tiny_model, str(wide), crop="centre").notes
    beyond = targets.read(tiny_model, str(wide), crop="0,-12,60,48")
    assert float(beyond.target.weights[0, 0, 0]) == 0 and float(beyond.target.weights.max()) == 1


def test_what_a_mask_calls_background_is_the_models(tiny_semantic_model, mask, tmp_path):
    png.save_image(tmp_path / "photo.png", np.full_like(RGB, 200) - RGB // 8)
    alone, cut = (targets.read(tiny_semantic_model, str(tmp_path / "photo.png"), m) for m in ("", mask))
    assert any("black background" in note for note in alone.notes)
    assert any("background is shown black" in note for note in cut.notes)
    background = np.asarray(cut.target.mask) == 0
    image = np.asarray(cut.target.image)
    assert (image[background] == -1).all() and (image[~background] > 0).all()


def test_the_head_is_found_where_asked(tiny_model, tmp_path, monkeypatch):
    head = face_crops.Head((48, 0, 96, 48), (60, 10, 80, 30), 0.0, ("the head was found",))
    monkeypatch.setattr(face_crops, "find_head", lambda picture, **_: head)
    png.save_image(tmp_path / "wide.png", np.concatenate([RGB // 2, RGB], axis=1))
    given = targets.read(tiny_model, str(tmp_path / "wide.png"), crop="auto")
    assert float(given.target.image.max()) > 0.8 and given.notes[0] == "wide.png: the head was found"
    frame = {
        "file_path": "wide.png",
        "transform_matrix": np.asarray(cameras.flip_opengl(scenes.default_camera(tiny_model, 0.2).cam2world)).tolist(),
    }
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 200, "w": 96, "h": 48, "frames": [frame]}))
    known = targets.read(
        tiny_model, str(tmp_path / "wide.png"), "", str(tmp_path / "transforms.json"), crop="auto"
    ).known
    np.testing.assert_allclose(known.center, [[0.0, 0.5]], atol=1e-6)


def test_photos_that_cannot_be_used_are_refused(tiny_model, photo, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    png.save_image(tmp_path / "wide.png", np.concatenate([RGB, RGB], axis=1))
    png.save_image(tmp_path / "small.png", RGB[:20, :20])
    png.save_image(tmp_path / "plain.png", np.zeros_like(RGB))
    for image, message in {
        "": "nothing to invert: pass --image, --mask, or both",
        str(tmp_path / "absent.png"): "there is no file '.*absent.png'",
        f"{photo},{tmp_path / 'absent.png'}": "there is no file '.*absent.png'. Name a file, several with commas",
        str(tmp_path / "empty"): "has no pictures",
        str(tmp_path / "text.png"): "text.png",
        str(tmp_path / "wide.png"): "wide.png is 96 x 48 pixels, expected a square .* --crop centre",
        str(tmp_path / "small.png"): "small.png: the square to invert is 20 pixels wide",
        str(tmp_path / "plain.png"): "plain.png has one colour only",
    }.items():
        with pytest.raises(ValueError, match=message):
            targets.read(tiny_model, image)
    for crop, message in {
        "middle": "--crop is 'middle'",
        "1,2,x,4": "four whole numbers",
        "0,0,9": "four whole",
    }.items():
        with pytest.raises(ValueError, match=message):
            targets.read(tiny_model, photo, crop=crop)


def test_masks_that_cannot_be_used_are_refused(tiny_model, tiny_semantic_model, photo, mask, tmp_path):
    for name, ids in {"unknown": IDS + 3, "single": np.ones_like(IDS), "ignored": np.full_like(IDS, 255)}.items():
        Image.fromarray(ids).save(tmp_path / f"{name}.png")
    Image.fromarray(RGB).save(tmp_path / "colours.png")
    for name, message in {
        "unknown": "unknown.png has the unknown ids",
        "single": "single.png has one class only, 'skin'",
        "ignored": "ignored.png has no label at all",
        "colours": "colours.png is a colour picture",
    }.items():
        with pytest.raises(ValueError, match=message):
            targets.read(tiny_semantic_model, "", str(tmp_path / f"{name}.png"))
    with pytest.raises(
        ValueError, match="mask.png is inverted through the semantic branch, and the checkpoint has none"
    ):
        targets.read(tiny_model, "", mask)
    with pytest.raises(ValueError, match="there are 1 photos and 2 masks"):
        targets.read(tiny_semantic_model, photo, f"{mask},{mask}")
    with pytest.raises(ValueError, match="only masks"):
        targets.read(tiny_semantic_model, "", mask, crop="auto")


def test_cameras_that_cannot_be_used_are_refused(tiny_model, photo, tmp_path):
    inside = np.eye(4)
    inside[2, 3] = 0.2
    (tmp_path / "broken.json").write_text("{")
    for file, message in {
        str(tmp_path / "broken.json"): "broken.json",
        str(tmp_path / "absent.json"): "absent.json",
        camera_file(
            tmp_path / "in.json", tiny_model, cam2world=inside.tolist()
        ): "in.json: camera 0 of 1 stands 0.2 wor",
        camera_file(tmp_path / "odd.json", tiny_model, cam2world=[[0] * 4] * 4): "odd.json cannot be read as cameras",
    }.items():
        with pytest.raises(ValueError, match=message):
            targets.read(tiny_model, photo, "", file)
    with pytest.raises(ValueError, match="does not say their size in pixels"):
        targets.read(tiny_model, photo, "", camera_file(tmp_path / "c.json", tiny_model), crop="0,0,40,40")
