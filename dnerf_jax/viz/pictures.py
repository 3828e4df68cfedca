"""Drawing: contact sheets, depth, normals, shares and differences in colours, overlays, point clouds, curves.

A picture is a uint8 NumPy array (H, W, 3), red green blue. These functions only draw: they read and write no files
(`io.png` does), and know nothing of models.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap

_INK = (40, 40, 40)
_EMPTY = (244, 244, 244)

# Nine stops of the colour map magma (CC0, by S. van der Walt and N. Smith), bright to dark: near to far.
_NEAR_TO_FAR = np.array(
    [
        (252, 253, 191),
        (254, 202, 141),
        (253, 150, 104),
        (241, 96, 93),
        (205, 64, 113),
        (158, 47, 127),
        (114, 31, 129),
        (69, 16, 119),
        (24, 15, 61),
    ],
    np.float32,
)


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeats each pixel of a picture or mask (H, W, ...) `factor` times in both directions."""
    return np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)


def depth_picture(depth: np.ndarray, *, near: float | None = None, far: float | None = None) -> np.ndarray:
    """Colours a depth map, bright where near, dark where far, pale grey where empty.

    Args:
      depth: (..., H, W) in world units; infinite where empty, or 0, as files have it.
      near, far: depths of the ends of the colour map; by default the 1st and 99th percentile of what is not empty, so
        that maps which should be comparable must be given the same.

    Returns:
      uint8 (..., H, W, 3).
    """
    depth = np.asarray(depth, np.float32)
    filled = np.isfinite(depth) & (depth > 0)
    known = depth[filled] if filled.any() else np.ones(1, np.float32)
    near = float(np.percentile(known, 1)) if near is None else near
    far = float(np.percentile(known, 99)) if far is None else far
    place = np.clip((np.where(filled, depth, near) - near) / max(far - near, 1e-8), 0, 1)
    place = place * (len(_NEAR_TO_FAR) - 1)
    below = np.minimum(place.astype(int), len(_NEAR_TO_FAR) - 2)
    fraction = (place - below)[..., None]
    colors = _NEAR_TO_FAR[below] * (1 - fraction) + _NEAR_TO_FAR[below + 1] * fraction
    return np.where(filled[..., None], np.round(colors), _EMPTY).astype(np.uint8)


def normal_picture(normal: np.ndarray) -> np.ndarray:
    """Colours unit vectors (..., H, W, 3): x, y and z from -1 to 1 as red, green and blue; pale grey where empty.

    Returns uint8 (..., H, W, 3).
    """
    normal = np.asarray(normal, np.float32)
    filled = np.any(normal != 0, axis=-1, keepdims=True)
    return np.where(filled, np.round((normal + 1) * 127.5), _EMPTY).astype(np.uint8)


def share_picture(share: np.ndarray) -> np.ndarray:
    """Colours shares in [0, 1] (..., H, W), of confidence or opacity: dark where 0, bright where 1.

    Returns uint8 (..., H, W, 3).
    """
    share = np.clip(np.asarray(share, np.float32), 0, 1)
    return depth_picture(2 - share, near=1.0, far=2.0)


def overlay(image: np.ndarray, colors: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
    """Lays the colours of a mask (H, W, 3) over an image of the same size, both uint8."""
    return np.round(image * (1 - opacity) + colors * opacity).astype(np.uint8)


def difference_picture(
    label: np.ndarray, prediction: np.ndarray, image: np.ndarray | None = None, *, ignore: int = LabelMap.IGNORE
) -> np.ndarray:
    """Shows in red where a predicted mask differs from its label.

    Args:
      label, prediction: (H, W) class ids.
      image: uint8 (H, W, 3) to show in pale grey beneath; without it the ground is pale grey.
      ignore: id of pixels in `label` that have none: they are never red.

    Raises:
      ValueError: the sizes differ.
    """
    label, prediction = np.asarray(label), np.asarray(prediction)
    if label.shape != prediction.shape or (image is not None and image.shape[:2] != label.shape):
        sizes = [label.shape, prediction.shape] + ([] if image is None else [image.shape])
        raise ValueError(f"label, prediction and image must have one size, not {sizes}")
    ground = np.full(label.shape, 235.0) if image is None else 140 + 0.45 * np.mean(image, axis=-1)
    picture = np.repeat(ground[..., None], 3, axis=-1)
    picture[(label != prediction) & (label != ignore)] = (214, 39, 40)
    return np.round(picture).astype(np.uint8)


def cloud_picture(
    points: np.ndarray,
    colors: np.ndarray,
    camera: cameras.Camera,
    resolution: int,
    *,
    radius: int = 1,
    background: int = 255,
) -> np.ndarray:
    """Draws a point cloud as discs, the nearest in front.

    Args:
      points: (N, 3) in the world frame.
      colors: uint8 (N, 3).
      camera: where it is seen from.
      resolution: side of the picture in pixels.
      radius: of a disc in pixels; 0 is one pixel.
      background: grey level.

    Returns:
      uint8 (resolution, resolution, 3).
    """
    uv, depth_z = (np.asarray(part) for part in cameras.project(camera, jnp.asarray(points, jnp.float32)))
    in_front = depth_z > 1e-6
    pixels, depth_z = np.floor(uv[in_front] * resolution).astype(np.int64), depth_z[in_front]
    # Points are drawn from far to near, so that of several on one pixel the nearest stays.
    order = np.argsort(-depth_z, kind="stable")
    offsets = np.arange(-radius, radius + 1)
    disc = np.array([(x, y) for x in offsets for y in offsets if x * x + y * y <= radius * (radius + 0.5)])
    targets = pixels[order, None, :] + disc
    inside = np.all((targets >= 0) & (targets < resolution), axis=-1)
    source = np.broadcast_to(order[:, None], inside.shape)[inside]
    columns, rows = targets[inside].T
    picture = np.full((resolution, resolution, 3), background, np.uint8)
    picture[rows, columns] = np.asarray(colors)[in_front][source]
    return picture


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    pad: int = 4,
    background: int = 255,
) -> np.ndarray:
    """Puts pictures in rows and columns, each centred in a cell as large as the largest picture.

    Args:
      rows: pictures (H, W, 3) or grey (H, W), uint8; rows may have different lengths.
      row_labels: texts to the left of the rows.
      column_labels: texts above the columns.
      pad: pixels between pictures.
      background: grey level.

    Raises:
      ValueError: there is no picture, or one is not uint8 of these shapes.
    """
    pictures = [np.asarray(picture) for row in rows for picture in row]
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
            what = f"{picture.dtype} {picture.shape}"
            raise ValueError(f"a sheet takes uint8 pictures (H, W, 3) or (H, W), not {what}: see images.to_uint8")
    height, width = np.max([picture.shape[:2] for picture in pictures], axis=0)
    text_size = int(np.clip(height / 9, 11, 18))
    font = ImageFont.load_default(text_size)
    left = pad + max([0] + [int(font.getlength(text)) + pad for text in row_labels])
    top = pad + (int(text_size * 1.4) if column_labels else 0)
    columns = max(len(row) for row in rows)
    size = int(left + columns * (width + pad)), int(top + len(rows) * (height + pad))
    canvas = Image.new("RGB", size, (background,) * 3)
    draw = ImageDraw.Draw(canvas)
    ink = _INK if background > 127 else (230, 230, 230)
    for j, text in enumerate(column_labels):
        x, y = left + j * (width + pad) + width / 2, top - pad - text_size / 4
        draw.text((x, y), text, ink, font, anchor="ms")
    for i, text in enumerate(row_labels):
        draw.text((left - pad, top + i * (height + pad) + height / 2), text, ink, font, anchor="rm")
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            picture = np.asarray(picture)
            y = top + i * (height + pad) + (height - picture.shape[0]) // 2
            x = left + j * (width + pad) + (width - picture.shape[1]) // 2
            canvas.paste(Image.fromarray(picture).convert("RGB"), (int(x), int(y)))
    return np.asarray(canvas)


def labelled_sheet(
    images: np.ndarray, masks: np.ndarray, label_map: LabelMap, *, most: int = 48, columns: int = 8
) -> np.ndarray:
    """Lays masks over their images, each with its number, so that labels that are out of step are seen.

    Args:
      images, masks: uint8 (N, R, R, 3) and ids (N, R, R); the background is left as it is.
      most: how many are drawn; of more as many, evenly spread, the first and the last among them.
      columns: pictures side by side, of at most 256 pixels each.
    """
    step = -(-images.shape[1] // 256)
    cells = []
    for view in np.unique(np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int)):
        image, mask = images[view, ::step, ::step], masks[view, ::step, ::step]
        cell = np.where((mask == 0)[..., None], image, overlay(image, label_map.colorize(mask)))
        cells.append(_numbered(cell, view))
    return sheet([cells[first : first + columns] for first in range(0, len(cells), columns)])


def _numbered(picture: np.ndarray, number: int) -> np.ndarray:
    """A picture with a number in its upper left corner."""
    image = Image.fromarray(picture)
    size = int(np.clip(picture.shape[0] / 9, 11, 18))
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(image)
    draw.rectangle((0, 0, font.getlength(str(number)) + 6, size + 4), _EMPTY)
    draw.text((3, 2), str(number), _INK, font)
    return np.asarray(image)


def curve_picture(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str = "step",
    y_label: str = "",
    log_y: bool = False,
    size: tuple[float, float] = (6.4, 3.0),
) -> np.ndarray:
    """Draws curves in one plot; one of over 100 points is pale beneath its running mean.

    Args:
      curves: name to (x, y); y that is not finite leaves a gap.
      x_label, y_label: texts at the axes.
      log_y: whether the y axis is logarithmic.
      size: inches, at 150 pixels each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(curves.items()):
        x, y = (np.asarray(values, float) for values in curve)
        color = f"C{index}"
        if len(y) > 100:
            axes.plot(x, y, color=color, alpha=0.25, linewidth=0.8)
            x, y = _running_mean(x, y, len(y) // 40)
        axes.plot(x, y, color=color, linewidth=1.6, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if log_y:
        axes.set_yscale("log")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(frameon=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _running_mean(x: np.ndarray, y: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(y) < width:
        return x, y
    kernel = np.ones(width) / width
    return np.convolve(x, kernel, "valid"), np.convolve(y, kernel, "valid")
