"""--crop auto: where the head is in a photo, and the square in which it sits as in the generator's own images.

The face is found by dlib's HOG detector, whose weights are a part of its library: nothing is downloaded. It is five
detectors in one (frontal, looking to the left and to the right, and frontal heads that are tilted to either side), and
says which of them saw the face; its boxes come in steps of a fifth in size. So the picture is looked at in several
sizes within such a step, and the boxes are averaged, weighted by their scores, as are those who saw it.

How a generator's images are framed is a `Framing`, in faces: measured from such images by the same detector, so that
what the detector's boxes mean cancels. All numbers here are of embedded heads: dlib finds one face in each of their 180
labelled views (OpenCV's best Haar cascade in 96 %, scikit-image's LBP cascade in 87 %), and the squares that
`find_head` makes of them miss theirs by 2.6 % of the side across, 2.0 % up and down and 10 % in size (standard
deviations).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from dnerf_jax.io.photos import Box

# The longest side at which a face is looked for; it is found from 80 pixels on. The next is tried where none is found.
_SIDES = (512, 1024, 2048)
_STEP, _LOOKS = 1.2, 4  # the detector's step in size, and in how many parts it is divided
_LEFT, _RIGHT = 1, 2  # which of its detectors are of faces that look to the picture's left and right
BY_HAND = (
    "cut the photo so that the head sits as in the checkpoint's images; in those of the embedded heads the face is in"
    " the middle, 0.45 of the square's side wide, forehead at 0.2 and chin at 0.8 of its height"
)


@dataclasses.dataclass(frozen=True)
class Framing:
    """Where an image's square stands around a face's box, in widths of the box.

    side, down: the square's side, and how far the box's centre is below the square's, of frontal faces; side_turned,
    down_turned: of faces that are turned by some 25 degrees. across: how far the box's centre of these is from the
    square's, towards where they look.
    """

    side: float
    side_turned: float
    down: float
    down_turned: float
    across: float


# Measured by `measured` from the 90 labelled views of heads_train and the 90 of heads_test.
HEADS = Framing(side=2.249, side_turned=2.120, down=0.164, down_turned=0.096, across=0.189)


@dataclasses.dataclass(frozen=True)
class Head:
    """A head that was found.

    box: the square (left, top, right, bottom) in the picture's pixels, which may reach beyond its edges. face: of the
    same form, what the detector calls the face. turned: -1, fully to the picture's left, to 1, to the right. notes:
    what to know, sentences.
    """

    box: Box
    face: Box
    turned: float
    notes: tuple[str, ...]


def find_head(picture: np.ndarray, *, framing: Framing = HEADS, source: str = "the photo") -> Head:
    """The square of a picture, uint8 (H, W, 3) as `png.read_picture` reads it, in which the head sits as framed.

    Of several faces the largest is taken, which is said. Raises ValueError, naming `source`, if there is none, and
    ImportError, naming the extra, where dlib is not installed; both say how to frame a photo by hand.
    """
    faces = _faces(_detector(), picture)
    if not len(faces):
        raise ValueError(f"in {source} no face was found that looks at the camera within some 40 degrees: {BY_HAND}")
    face, shares, others = _largest(faces)
    turned = _turned(shares)
    side = face[2] * np.exp((1 - abs(turned)) * np.log(framing.side) + abs(turned) * np.log(framing.side_turned))
    across = framing.across * turned
    down = (1 - abs(turned)) * framing.down + abs(turned) * framing.down_turned
    size, center = round(side), (face[0] - across * face[2], face[1] - down * face[2])
    left, top = round(center[0] - side / 2), round(center[1] - side / 2)
    notes = [f"the head was found in the square {(left, top, left + size, top + size)}"]
    if others:
        notes.append(f"there are {others + 1} faces, of which the largest is used")
    found = [round(value) for value in (face[0] - face[2] / 2, face[1] - face[2] / 2)]
    width = round(face[2])
    box = (found[0], found[1], found[0] + width, found[1] + width)
    return Head((left, top, left + size, top + size), box, float(turned), tuple(notes))


def measured(pictures: Iterable[np.ndarray]) -> Framing:
    """The framing of a generator's images, uint8 (R, R, 3) each: some dozens, of heads turned by up to 30 degrees.

    Raises ValueError if no face is found in half of them, or none that is turned; ImportError without dlib.
    """
    detector, rows, count = _detector(), [], 0
    for picture in pictures:
        count += 1
        faces = _faces(detector, picture)
        if len(faces):
            (x, y, width), shares, _ = _largest(faces)
            middle = len(picture) / 2
            rows.append([_turned(shares), len(picture) / width, (x - middle) / width, (y - middle) / width])
    found = np.array(rows).reshape(-1, 4)
    if len(found) < max(1, count / 2) or np.abs(found[:, 0]).max() < 0.5:
        raise ValueError(
            f"a face was found in {len(found)} of {count} images, expected one in most of them, and some that are"
            " turned: are they images of heads, from several sides?"
        )
    turned = np.abs(found[:, 0])
    parts = np.stack([1 - turned, turned], axis=-1)
    sides, downs = (np.linalg.lstsq(parts, y, rcond=None)[0] for y in (np.log(found[:, 1]), found[:, 3]))
    across = (found[:, 0] * found[:, 2]).sum() / (found[:, 0] ** 2).sum()
    return Framing(*(float(x) for x in (*np.exp(sides), *downs, across)))


def _detector() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise ImportError(
            f"--crop auto needs dlib ({error}): pip install dnerf_jax[faces]. Or, without it, {BY_HAND}"
        ) from error
    return dlib.get_frontal_face_detector()


def _faces(detector: Any, picture: np.ndarray) -> np.ndarray:
    """What the detector finds in several sizes of a picture: (N, 5) centre x and y, width, score, and who saw it."""
    longest = max(picture.shape[:2])
    for side in _SIDES:
        found = []
        for look in range(_LOOKS):
            scale = side / longest / _STEP ** (look / _LOOKS)
            size = [max(1, round(length * scale)) for length in (picture.shape[1], picture.shape[0])]
            small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
            for box, score, seen in zip(*detector.run(small, 0, 0.0), strict=True):
                center = (box.left() + box.right() + 1) / 2, (box.top() + box.bottom() + 1) / 2
                found.append([*(np.array([*center, box.width()]) / scale), score, seen])
        if found or side >= 2 * longest:
            break
    return np.array(found).reshape(-1, 5)


def _largest(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Of the largest face: centre x, y and width; the shares (5,) of those who saw it; and how many faces beside it."""
    groups: list[np.ndarray] = []
    left = faces
    while len(left):  # the surest first, and all that are within half of its width
        best = left[left[:, 3].argmax()]
        same = np.abs(left[:, :2] - best[:2]).max(axis=1) < best[2] / 2
        groups.append(left[same])
        left = left[~same]
    sure = [group for group in groups if group[:, 3].sum() > 0.2 * groups[0][:, 3].sum()]
    largest = max(sure, key=lambda group: np.average(group[:, 2], weights=group[:, 3]))
    weights = largest[:, 3] / largest[:, 3].sum()
    shares = np.bincount(largest[:, 4].astype(int), weights, minlength=5)
    return weights @ largest[:, :3], shares, len(sure) - 1


def _turned(shares: Sequence[float] | np.ndarray) -> float:
    """How far a face looks to the picture's right, of those who saw it: -1 to 1."""
    return float(shares[_RIGHT] - shares[_LEFT])
