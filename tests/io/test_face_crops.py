"""Heads in photos: squares as the embedded heads are framed; without the detector, how to frame by hand.

What dlib itself finds is tested where it is installed; all else with a detector that is told what to find.
"""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest

from dnerf_jax.io import face_crops, files, png


class Told:
    """A detector in dlib's form that finds the faces it is told: (x, y, width, score, who), in the whole picture."""

    def __init__(self, size, faces):
        self.size, self.faces = size, faces

    def run(self, small, upsample, threshold):
        scale = small.shape[1] / self.size
        boxes, scores, seen = [], [], []
        for x, y, width, score, who in self.faces:
            if width * scale >= 80:
                left, top, side = (round(v * scale) for v in (x - width / 2, y - width / 2, width))
                made = {"left": left, "top": top, "right": left + side - 1, "bottom": top + side - 1, "width": side}
                boxes.append(SimpleNamespace(**{name: lambda value=value: value for name, value in made.items()}))
                scores.append(score)
                seen.append(who)
        return boxes, scores, seen


def told(monkeypatch, size, faces):
    monkeypatch.setattr(face_crops, "_detector", lambda: Told(size, faces))
    return np.zeros((size, size, 3), np.uint8)


@pytest.mark.parametrize(("who", "turned"), [(0, 0), (1, -1), (2, 1), (3, 0), (4, 0)])
def test_the_square_stands_around_the_face_as_framed(monkeypatch, who, turned):
    picture = told(monkeypatch, 1000, [(400, 500, 200, 1.5, who)])
    head, framing = face_crops.find_head(picture), face_crops.HEADS
    side, down = (framing.side_turned, framing.down_turned) if turned else (framing.side, framing.down)
    left, top, right, bottom = head.box
    assert head.turned == turned and right - left == bottom - top
    np.testing.assert_allclose(right - left, 200 * side, atol=4)
    np.testing.assert_allclose((left + right) / 2, 400 - turned * framing.across * 200, atol=3)
    np.testing.assert_allclose((top + bottom) / 2, 500 - down * 200, atol=3)
    np.testing.assert_allclose(head.face, (300, 400, 500, 600), atol=3)


def test_of_several_faces_the_largest_is_taken_and_said(monkeypatch):
    faces = [(200, 200, 200, 2.0, 0), (700, 600, 240, 1.0, 0), (500, 100, 300, 0.05, 0)]
    head = face_crops.find_head(told(monkeypatch, 1000, faces))
    np.testing.assert_allclose(head.face, (580, 480, 820, 720), atol=3)
    assert "2 faces" in head.notes[1]  # the third was hardly seen


def test_small_faces_are_found_in_large_pictures_and_none_is_refused(monkeypatch):
    assert face_crops.find_head(told(monkeypatch, 3000, [(1500, 1500, 200, 1.0, 0)])).face[0] == pytest.approx(
        1400, abs=5
    )
    with pytest.raises(ValueError, match=r"in group\.jpg no face was found.*0\.45 of the square's side"):
        face_crops.find_head(told(monkeypatch, 3000, []), source="group.jpg")


def test_a_framing_is_measured(monkeypatch):
    monkeypatch.setattr(face_crops, "_detector", lambda: None)
    truth, size = face_crops.Framing(2.0, 1.8, 0.1, 0.05, 0.2), 256
    found = {0: (0, truth.side, truth.down), 1: (-1, truth.side_turned, truth.down_turned)}
    found[2] = (1, *found[1][1:])
    rows = {}
    for who, (turned, side, down) in found.items():
        width = size / side
        rows[who] = np.array([[128 + turned * truth.across * width, 128 + down * width, width, 1.0, who]])
    monkeypatch.setattr(face_crops, "_faces", lambda detector, picture: rows[int(picture[0, 0, 0])])
    made = face_crops.measured(np.full((size, size, 3), who, np.uint8) for who in (0, 1, 2, 0))
    np.testing.assert_allclose([*vars(made).values()], [*vars(truth).values()], atol=1e-6)
    with pytest.raises(ValueError, match="expected one in most of them, and some that are turned"):
        face_crops.measured(np.zeros((2, size, size, 3), np.uint8))


def test_without_dlib_the_extra_is_named(monkeypatch):
    def refused(name, *rest, **options):
        if name == "dlib":
            raise ImportError("No module named 'dlib'")
        return found(name, *rest, **options)

    found = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(ImportError, match=r"pip install dnerf_jax\[faces\].*0\.45 of the square's side"):
        face_crops.find_head(np.zeros((64, 64, 3), np.uint8))


def test_dlib_finds_the_embedded_heads():
    pytest.importorskip("dlib", reason="the extra faces installs it")
    errors = []
    for index in range(0, 90, 6):
        picture = png.load_image(files.ASSETS / "heads_train" / "images" / f"{index:04d}.png")
        left, top, right, bottom = face_crops.find_head(picture).box
        errors.append([(left + right) / 512 - 0.5, (top + bottom) / 512 - 0.5, (right - left) / 256 - 1])
    assert np.abs(np.mean(errors, axis=0)).max() < 0.05 and np.abs(errors).max() < 0.3
