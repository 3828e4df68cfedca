"""What a view is in files: the form of every modality, in numbers and in bytes.

    image                  image.png        uint8 (R, R, 3) RGB
    mask                   mask.png         uint8 (R, R) class ids, with the label map's palette
    depth_z, distance      depth_z.png      uint16 (R, R), times scale in world units, 0 where empty; or float32 .npy
    opacity, confidence    opacity.png      uint16 (R, R), times scale in [0, 1]
    normal, logits         normal.npy       float16 (R, R, 3) in the world frame, zero where empty; (R, R, C)
                           json             z, cameras, the number of a body's pose, and what else makes the view again

A view's files share their base name, its key: 00000012_03 is view 3 of identity 12. An identity's cloud is
00000012.cloud.ply, its mesh 00000012.mesh.ply. Logits are rounded, so in a few pixels of nearly equal classes the
largest of them is not the mask's. Hashes are of the decoded numbers, whatever the encoder made of them.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import encoding
from dnerf_jax.ops import images

JSON = "json"  # the suffix of a view's description
OBJECT_SUFFIX = {"points": "cloud.ply", "mesh": "mesh.ply"}
if TYPE_CHECKING:
    from dnerf_jax.models.generator import GeneratorConfig  # which needs JAX, as a reader does not

_SHARE = 1 / 65535


@dataclasses.dataclass(frozen=True)
class Form:
    """How a modality is stored.

    Attributes:
      suffix: of its file, behind the key of the view.
      dtype: of the numbers in it.
      scale: what these are multiplied by, or None.
      unit: of the product.
    """

    suffix: str
    dtype: str
    scale: float | None = None
    unit: str | None = None


def forms(plan: Plan, config: "GeneratorConfig") -> dict[str, Form]:
    """The forms of a view's modalities, by name."""
    scale = depth_scale(plan, config)
    length = (
        Form("{}.png", "uint16", scale, "world unit")
        if plan.depth == "uint16"
        else Form("{}.npy", "float32", None, "world unit")
    )
    known = {
        "image": Form("{}.png", "uint8"),
        "mask": Form("{}.png", "uint8", None, "class id"),
        "depth_z": length,
        "distance": length,
        "opacity": Form("{}.png", "uint16", _SHARE, "share"),
        "confidence": Form("{}.png", "uint16", _SHARE, "probability"),
        "normal": Form("{}.npy", "float16", None, "unit vector, world frame"),
        "logits": Form("{}.npy", "float16", None, "logit"),
    }
    return {
        name: dataclasses.replace(known[name], suffix=known[name].suffix.format(name)) for name in plan.view_modalities
    }


def depth_scale(plan: Plan, config: "GeneratorConfig") -> float:
    """World units per step of a 16-bit depth: two digits, so that the far side of the box has a number."""
    options, radius = config.rendering, config.rendering.avg_camera_radius
    if plan.viewpoints.fixed and len(plan.viewpoints.fixed[0]) == 25:
        poses = np.reshape([entry[:16] for entry in plan.viewpoints.fixed], (-1, 4, 4))
        radius = float(np.linalg.norm(poses[:, :3, 3], axis=-1).max())
    far = radius + math.sqrt(3) / 2 * options.box_warp
    if not isinstance(options.ray_end, str):
        far = max(far, options.ray_end)
    step = far / 65534
    unit = 10.0 ** (math.floor(math.log10(step)) - 1)
    return float(f"{math.ceil(step / unit) * unit:.1e}")


def key_of(identity: int, view: int | None = None) -> str:
    """The base name of the files of a view, or of an identity."""
    return f"{identity:08d}" if view is None else f"{identity:08d}_{view:02d}"


def stored(form: Form, array: np.ndarray) -> np.ndarray:
    """The numbers of a modality, as rendered, as they are stored; raises ValueError: they do not fit."""
    array = np.asarray(array)
    if form.dtype == "uint8":
        return images.to_uint8(array, span=(-1, 1)) if array.ndim == 3 else array.astype(np.uint8)
    values = np.where(np.isfinite(array), array, 0.0)
    if form.scale is None:
        return values.astype(form.dtype)
    steps = np.rint(values.astype(np.float64) / form.scale)
    if steps.size and not 0 <= steps.min() <= steps.max() <= 65535:
        raise ValueError(
            f"values are {values.min():.4g} to {values.max():.4g} {form.unit}s, beyond what 16 bits at a scale of "
            f"{form.scale:g} hold: store them as float32 (--config.depth=float32)"
        )
    return steps.astype(form.dtype)


def restored(form: Form, numbers: np.ndarray) -> np.ndarray:
    """The values of stored numbers: float32 in their unit where they have a scale, else as they are."""
    return numbers if form.scale is None else (numbers * form.scale).astype(np.float32)


def encode(form: Form, numbers: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """The file of stored numbers. palette: of masks."""
    return (
        encoding.encode_png(numbers, palette=palette) if form.suffix.endswith(".png") else encoding.encode_npy(numbers)
    )


def decode(form: Form, data: bytes) -> np.ndarray:
    """The stored numbers of a file. Raises ValueError: it is damaged, or of another type."""
    numbers = encoding.decode_png(data) if form.suffix.endswith(".png") else encoding.decode_npy(data)
    if numbers.dtype != form.dtype:
        raise ValueError(f"its numbers are {numbers.dtype}, expected {form.dtype}")
    return numbers


def pixel_hash(numbers: np.ndarray) -> str:
    """16 hexadecimal digits of stored numbers: type, shape and values."""
    digest = hashlib.sha256(f"{numbers.dtype.str}{numbers.shape}".encode())
    digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()[:16]


def describe(
    identity: int,
    view: int,
    attempt: int,
    split: str,
    z: np.ndarray,
    cam2world: np.ndarray,
    intrinsics: np.ndarray,
    pose: int | None = None,
) -> dict[str, Any]:
    """What a view's JSON says of it: all that is its own; what all share is in dataset.json. pose: its frame."""
    own = {
        "key": key_of(identity, view),
        "identity": identity,
        "view": view,
        "split": split,
        "attempt": attempt,
        "z": numbers_of(z),
        "cam2world": numbers_of(cam2world),
        "intrinsics": numbers_of(intrinsics),
    }
    return own if pose is None else own | {"pose": pose}


def numbers_of(array: Any) -> list:
    """A float32 array as nested lists whose decimal numbers are as short as they can be and read back equal."""
    flat = np.asarray(array, np.float32)
    return [numbers_of(row) for row in flat] if flat.ndim > 1 else [float(str(number)) for number in flat]


def to_json(value: Mapping[str, Any]) -> bytes:
    """JSON on one line."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
