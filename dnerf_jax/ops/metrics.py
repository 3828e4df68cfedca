"""How well masks and images agree: confusion matrix, mIoU, accuracy, PSNR, SSIM.

confusion[i, j] counts the pixels labelled i and predicted j. Matrices of several batches are added, and
scores are taken from the sum: the IoU of a class is that of all pixels of the set together, as usual for
segmentation, not a mean of per-image IoUs, in which a class that an image lacks has no meaning.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some
from dnerf_jax.ops.precision import einsum


def confusion(label: ArrayLike, prediction: ArrayLike, num_classes: int, *, ignore: int = LabelMap.IGNORE) -> jax.Array:
    """Counts the pixels of every (label, prediction) pair, int32 (num_classes, num_classes), rows are labels.

    label, prediction: integer ids of equal shape (any). Pixels labelled `ignore` are left out, whatever the
    prediction. Sum the matrices of large sets in int64 on the host: one call counts up to 2**31 - 1 pixels.

    Works under jit with static `num_classes`. Raises ValueError on different shapes, on ids that are not
    integers and, outside jit, on ids that are no class (a prediction is never `ignore`); under jit such
    pixels are left out.
    """
    label, prediction = jnp.asarray(label), jnp.asarray(prediction)
    if label.shape != prediction.shape:
        raise ValueError(f"label has shape {label.shape}, prediction {prediction.shape}: expected equal shapes")
    for name, ids in (("label", label), ("prediction", prediction)):
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"{name} has type {ids.dtype}, expected integer class ids (argmax of the logits)")
    label, prediction = label.astype(jnp.int32), prediction.astype(jnp.int32)
    counted = label != ignore
    known_label = (label >= 0) & (label < num_classes)
    known_prediction = (prediction >= 0) & (prediction < num_classes)
    if not isinstance(label, jax.core.Tracer) and not isinstance(prediction, jax.core.Tracer):
        for name, ids, known in (("label", label, known_label), ("prediction", prediction, known_prediction)):
            unknown = np.unique(np.asarray(ids)[np.asarray(counted & ~known)])
            if unknown.size:
                raise ValueError(
                    f"{name} has the unknown ids [{some(unknown, 12)}], expected 0 to {num_classes - 1}"
                    f" (and {ignore}, ignore, in the label): is it of another label map?"
                )
    pair = jnp.where(counted & known_label & known_prediction, label * num_classes + prediction, num_classes**2)
    counts = jnp.bincount(pair.reshape(-1), length=num_classes**2 + 1)
    return counts[:-1].reshape(num_classes, num_classes).astype(jnp.int32)


def scores(confusion: Any, names: Sequence[str]) -> dict[str, Any]:
    """Turns a confusion matrix (C, C), rows are labels, into scores, all plain Python numbers ready for JSON.

    - "miou": mean IoU over the classes that occur in the labels or in the predictions: a class that is only
      predicted counts as 0, one that occurs nowhere is left out.
    - "classes_seen": over how many classes that mean is.
    - "accuracy": part of the pixels with the right class.
    - "per_class": IoU by name, None for a class that occurs nowhere.
    - "label_pixels", "prediction_pixels": counts by name.

    miou and accuracy are None if the matrix is empty. Raises ValueError if the matrix does not fit the names.
    """
    counts = np.asarray(confusion).astype(np.int64)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"confusion has shape {counts.shape}, expected {(len(names),) * 2} for the {len(names)} names")
    right, labelled, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    union = labelled + predicted - right
    occurs, total = union > 0, int(counts.sum())
    iou = right / np.maximum(union, 1)
    return {
        "miou": float(iou[occurs].mean()) if total else None,
        "classes_seen": int(occurs.sum()),
        "accuracy": float(right.sum() / total) if total else None,
        "per_class": {name: float(iou[k]) if occurs[k] else None for k, name in enumerate(names)},
        "label_pixels": {name: int(labelled[k]) for k, name in enumerate(names)},
        "prediction_pixels": {name: int(predicted[k]) for k, name in enumerate(names)},
    }


def psnr(a: ArrayLike, b: ArrayLike, *, peak: float = 2.0, mask: ArrayLike | None = None) -> jax.Array:
    """Peak signal-to-noise ratio in dB per image, 10 log10(peak**2 / mean squared error).

    a, b: float images (..., H, W, C); leading dimensions broadcast and remain. peak: the width of the range of values,
    2 for images in [-1, 1]. mask: (..., H, W) bool, which pixels count; None is all. Equal images give infinity, an
    image of which no pixel counts gives NaN. Works under `jit`.

    Raises ValueError on integer images (subtracting bytes wraps around) or sizes that differ.
    """
    a, b = _float_images(a, b)
    error = jnp.square(a - b)
    if mask is None:
        return 10.0 * jnp.log10(peak**2 / jnp.mean(error, axis=(-3, -2, -1)))
    counted = jnp.asarray(mask)[..., None]
    count = a.shape[-1] * jnp.sum(counted, axis=(-3, -2, -1))
    total = jnp.sum(jnp.where(counted, error, 0.0), axis=(-3, -2, -1))
    return 10.0 * jnp.log10(peak**2 / (total / count))


def ssim(
    a: ArrayLike,
    b: ArrayLike,
    *,
    low: float = -1.0,
    peak: float = 2.0,
    window: int = 11,
    sigma: float = 1.5,
) -> jax.Array:
    """Structural similarity per image, 1 for equal images.

    Wang et al. 2004, with k1 = 0.01, k2 = 0.03 and a Gaussian window.

    a, b: float images (..., H, W, C) with values from `low` to `low + peak`; leading dimensions broadcast and
    remain. The index compares means, so it depends on where black is: values are counted from `low`. It is
    averaged over the channels and over the places where the window fits the image whole.

    Raises ValueError on integer images, sizes that differ, or images smaller than the window.
    """
    a, b = _float_images(a, b)
    height, width = a.shape[-3:-1]
    if min(height, width) < window:
        raise ValueError(f"images of {height} x {width} are smaller than the window of {window}: give a smaller window")
    rows, columns = _gaussian_matrix(height, window, sigma), _gaussian_matrix(width, window, sigma)

    def blur(image: jax.Array) -> jax.Array:
        return einsum("ih,...hwc,jw->...ijc", rows, image, columns)

    a, b = a - low, b - low
    mean_a, mean_b = blur(a), blur(b)
    variance_a = jnp.maximum(blur(a**2) - mean_a**2, 0.0)
    variance_b = jnp.maximum(blur(b**2) - mean_b**2, 0.0)
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return jnp.mean(luminance * structure, axis=(-3, -2, -1))


def _gaussian_matrix(size: int, window: int, sigma: float) -> np.ndarray:
    """(size - window + 1, size): row i averages samples i to i + window - 1 with Gaussian weights.

    A matrix product blurs an axis; it is exact, differentiable, and quick at the sizes of images.
    """
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((size - window + 1, size), np.float32)
    for row in range(matrix.shape[0]):
        matrix[row, row : row + window] = weights / weights.sum()
    return matrix


def _float_images(a: ArrayLike, b: ArrayLike) -> tuple[jax.Array, jax.Array]:
    a, b = jnp.asarray(a), jnp.asarray(b)
    for image in (a, b):
        if not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(f"an image has type {image.dtype}, expected floats: convert bytes with images.from_uint8")
    if a.shape[-3:] != b.shape[-3:] or a.ndim < 3:
        raise ValueError(f"images have shapes {a.shape} and {b.shape}, expected equal (..., H, W, C)")
    return a.astype(jnp.float32), b.astype(jnp.float32)
