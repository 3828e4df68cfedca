"""What is painted and worn on a body: parts, garments, hair and colours, as functions of the point on the mean body.

`Surface` holds what the table's vertices carry, found once; between vertices it is interpolated within the hit
triangle, so a surface point has the same label and albedo in every view, pose and shape. Lengths are metres, colours
linear light, about 0 to 1. Left and right are the subject's.

Garments are the body's own surface, lifted: a skirt is a wide, flaring trouser leg, open between the legs.
"""

import dataclasses
import functools

import numpy as np

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.worlds import people
from dnerf_jax.worlds.bodies import posing, table
from dnerf_jax.worlds.bodies.table import BONES
from dnerf_jax.worlds.latents import smoothstep

_LIMBS = {
    "upper_arm": ("upperarm",),
    "lower_arm": ("lowerarm",),
    "hand": ("wrist",),
    "upper_leg": ("upperleg",),
    "lower_leg": ("lowerleg",),
    "foot": ("foot",),
}
PARTS = ("head", "torso", *(f"{side}_{limb}" for side in ("left", "right") for limb in _LIMBS))
LABELS = LabelMap(
    names=("background", *PARTS),
    colors=(
        (0, 0, 0),
        (230, 190, 150),
        (120, 70, 20),
        (40, 120, 255),
        (220, 20, 60),
        (120, 0, 0),
        (0, 200, 120),
        (90, 90, 110),
        (180, 255, 60),
        (255, 160, 60),
        (255, 105, 180),
        (255, 255, 0),
        (130, 60, 200),
        (0, 220, 255),
        (255, 0, 255),
    ),
)
_HEAD, _TORSO = PARTS.index("head"), PARTS.index("torso")
_ARMS = [k for k, part in enumerate(PARTS) if part.endswith(("arm", "hand"))]
_LEGS = [k for k, part in enumerate(PARTS) if part.endswith(("leg", "foot"))]
_FEET = [k for k, part in enumerate(PARTS) if part.endswith("foot")]

# Of hair, degrees about the middle of the skull: azimuths either side of the front, hairlines of short and long hair.
_SKULL = np.array([0.0, 0.030, -0.064])  # from the eyes' midpoint
_AZIMUTH = (0, 25, 42, 58, 72, 88, 105, 125, 180)
_SHORT = (38, 36, 24, 14, -4, 4, -18, -38, -40)
_LONG = (34, 30, 18, 4, -30, -38, -46, -60, -68)
_LONGEST_SKIRT = 0.62  # of the way from the hip to the ankle


@dataclasses.dataclass(frozen=True)
class Surface:
    """What each of the table's V vertices carries.

    rest: (V, 3) of the mean body in its rest pose. face: (V, 3) from the eyes' midpoint there. parts: (V, 14) shares
    of PARTS.
    arm, leg: (V,) the way from the shoulder (0) to the wrist (1), from the hip to the ankle, in the canonical pose.
    occlusion: (V,). hair: (V, 2) how far above the hairline of short and of long hair, degrees; far below it elsewhere.
    """

    rest: np.ndarray
    face: np.ndarray
    parts: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    occlusion: np.ndarray
    hair: np.ndarray

    @functools.cached_property
    def columns(self) -> np.ndarray:
        """Everything beside each other (V, 25), to be interpolated; `of_columns` takes it apart."""
        flat = [getattr(self, field.name).reshape(len(self.rest), -1) for field in dataclasses.fields(self)]
        return np.concatenate(flat, axis=1).astype(np.float32)

    @classmethod
    def of_columns(cls, columns: np.ndarray) -> "Surface":
        """What points carry, of columns that were interpolated."""
        ends = np.cumsum([3, 3, len(PARTS), 1, 1, 1])
        rest, face, parts, arm, leg, occlusion, hair = np.split(columns, ends, axis=1)
        return cls(rest, face, parts, arm[:, 0], leg[:, 0], occlusion[:, 0], hair)


@functools.cache
def load() -> Surface:
    """The surface of the table's mean body."""
    stored = table.load()
    joint = {bone: stored.joints[k] for k, bone in enumerate(BONES)}
    weights = np.zeros((len(stored.mean), len(BONES)))
    np.add.at(weights, (np.arange(len(stored.mean))[:, None], stored.bone_index), stored.bone_weight)
    shares = np.zeros((len(stored.mean), len(PARTS)))
    np.add.at(shares.T, [_part(bone) for bone in BONES], weights.T)

    face = stored.mean - (joint["eye.L"] + joint["eye.R"]) / 2
    turned = posing.transforms(stored.joints, table.PARENTS, stored.canonical)
    moved = dict(zip(BONES, np.einsum("bij,bj->bi", turned[..., :3], stored.joints) + turned[..., 3], strict=True))
    along = {}
    for name, start, end in (("arm", "upperarm01", "wrist"), ("leg", "upperleg01", "foot")):
        left = stored.canonical_mean[:, 0] > 0
        sides = [_along(stored.canonical_mean, moved[f"{start}.{side}"], moved[f"{end}.{side}"]) for side in "LR"]
        along[name] = np.where(left, *sides)
    return Surface(
        rest=stored.mean,
        face=face,
        parts=shares,
        arm=along["arm"],
        leg=along["leg"],
        occlusion=stored.occlusion,
        hair=_above_hairline(face, shares[:, _HEAD]),
    )


def _part(bone: str) -> int:
    name, side = bone.split(".")[0], {"L": "left_", "R": "right_"}.get(bone[-1], "")
    for limb, starts in _LIMBS.items():
        if name.startswith(starts):
            return PARTS.index(side + limb)
    return _HEAD if name.startswith(("neck", "head", "eye")) else _TORSO


def _along(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return (points - start) @ (end - start) / np.sum((end - start) ** 2)


def _above_hairline(face: np.ndarray, head: np.ndarray) -> np.ndarray:
    ray = face - _SKULL
    elevation = np.degrees(np.arctan2(ray[:, 1], np.hypot(ray[:, 0], ray[:, 2])))
    azimuth = np.degrees(np.abs(np.arctan2(ray[:, 0], ray[:, 2])))
    above = [elevation - np.interp(azimuth, _AZIMUTH, line) for line in (_SHORT, _LONG)]
    # Neither in the mouth nor on the face, whose lower half the skull's middle looks at from behind.
    away = (head < 0.5) | ((face[:, 2] > -0.03) & (face[:, 1] < 0.035))
    return np.where(away[:, None], -90.0, np.stack(above, axis=1))


def labels(surface: Surface) -> np.ndarray:
    """Class ids (n,) uint8 of points: the part that moves them most."""
    return (np.argmax(surface.parts, axis=1) + 1).astype(np.uint8)


def _worn(surface: Surface, a: dict[str, float]) -> dict[str, np.ndarray]:
    """How deep inside each garment points are (n,), metres, positive within: hair (degrees), shirt, trousers, shoe."""
    x, y, z = surface.rest.T
    part = surface.parts
    arm, leg, foot = (part[:, group].sum(axis=1) for group in (_ARMS, _LEGS, _FEET))
    height = table.load().joints[:, 1]
    neck, hip = height[BONES.index("neck01")], height[BONES.index("upperleg01.L")]
    front = smoothstep(z, -0.02, 0.06) * smoothstep(np.abs(x), 0.10, 0.0)
    collar = neck - 0.020 + 0.03 * a["collar"] - (0.12 * (1 - a["collar"])) * front - y
    waist = hip + 0.10
    tucked = y - (waist - 0.02 - 0.14 * a["hem"])
    # The fastest way out of a sleeve is along the arm, that out of the torso's part of a shirt up or down.
    shirt = np.where(arm > 0.5, 0.55 * (a["sleeve"] * 0.98 - surface.arm), np.minimum(collar, tucked))
    shirt = np.where(part[:, _HEAD] > 0.5, -0.05, shirt)
    length = a["leg"] if a["flare"] < 0 else np.minimum(a["leg"], _LONGEST_SKIRT)
    trousers = np.where(leg > 0.5, 0.75 * (length * 0.97 - surface.leg), waist - y)
    trousers = np.where((foot > 0.5) | (arm > 0.5), -0.05, trousers)
    shoe = np.where(foot > 0.5, 0.05, 0.75 * (surface.leg - (0.99 - 0.22 * a["boot"])))
    shoe = np.where(leg > 0.5, shoe, -0.05)
    grown = a["hair_length"]
    share = smoothstep(np.asarray(grown), 0.35, 0.85)
    hair = surface.hair[:, 0] * (1 - share) + surface.hair[:, 1] * share
    # Hair that is thin recedes, until there is none.
    hair = hair - 70.0 * (1 - smoothstep(np.asarray(grown), -0.12, 0.15))
    return {"hair": hair, "shirt": shirt, "trousers": trousers, "shoe": shoe}


def lifted(surface: Surface, normals: np.ndarray, a: dict[str, float]) -> np.ndarray:
    """By how much (V,) what is worn stands off the skin of the table's vertices; normals (V, 3) at rest."""
    worn = _worn(surface, a)
    hair = (0.003 + a["hair_volume"] * (0.4 + 0.9 * max(a["hair_length"], 0.0))) * smoothstep(worn["hair"], -4, 14)
    torso = surface.parts[:, _TORSO]
    shirt = (0.004 + a["shirt_loose"] * (0.006 + 0.010 * torso)) * smoothstep(worn["shirt"], -0.004, 0.012)
    flare = smoothstep(np.asarray(a["flare"]), 0.0, 0.5) * np.clip(surface.leg, 0, _LONGEST_SKIRT) / _LONGEST_SKIRT
    outwards = smoothstep(normals[:, 0] * np.sign(surface.rest[:, 0]), -0.75, -0.1)
    loose = 0.004 + 0.012 * a["trouser_loose"] * smoothstep(surface.leg, 0.0, 0.5) * outwards + 0.026 * flare * outwards
    trousers = loose * smoothstep(worn["trousers"], -0.004, 0.012)
    shoe = 0.005 * smoothstep(worn["shoe"], -0.004, 0.012)
    sole = smoothstep(-normals[:, 1], 0.3, 0.8) * surface.parts[:, _FEET].sum(axis=1)
    return np.maximum.reduce([hair, shirt, trousers, shoe + 0.018 * a["sole"] * sole])


def albedo(surface: Surface, a: dict[str, float]) -> np.ndarray:
    """Albedo (n, 3) of points."""
    tone, worn = people.tones(a), _worn(surface, a)
    found = np.broadcast_to(tone["skin"], (len(surface.rest), 3)).astype(np.float32)
    found = _face(found, surface, a, tone)

    def over(cover: np.ndarray, colour: np.ndarray, sharp: float = 0.002) -> None:
        share = smoothstep(cover, -sharp, sharp)[:, None]
        found[:] = found + (colour - found) * share

    shoe, trousers, shirt = (np.array([a[f"{name}_{c}"] for c in ("red", "green", "blue")]) for name in _CLOTHES)
    sole = smoothstep(-surface.rest[:, 1], 0.0, 1.0)[:, None]  # darker downwards
    over(worn["shoe"], shoe * (1 - 0.25 * sole))
    seam = 1 - 0.3 * smoothstep(np.abs(worn["trousers"] - 0.012), 0.003, 0.001)[:, None]
    over(worn["trousers"], trousers * seam)
    stripes = (
        0.35 * max(a["stripes"], 0.0) * np.sin(2 * np.pi * (surface.rest[:, 1] + 0.45 * np.abs(surface.arm)) / 0.07)
    )
    seam = 1 - 0.3 * smoothstep(np.abs(worn["shirt"] - 0.010), 0.003, 0.001)
    over(worn["shirt"], shirt * (seam * (1 - np.maximum(stripes, 0)))[:, None])
    azimuth = np.arctan2(surface.face[:, 0], surface.face[:, 2] - _SKULL[2])
    strands = 1 + 0.12 * np.sin(40 * azimuth + 40 * surface.face[:, 1])
    over(worn["hair"] - 2.0, tone["hair"] * strands[:, None], 3.0)
    return found


_CLOTHES = ("shoe", "trouser", "shirt")


def _face(found: np.ndarray, surface: Surface, a: dict[str, float], tone: dict[str, np.ndarray]) -> np.ndarray:
    """Brows, lips and eyes on the skin (n, 3): in a whole body's picture they are a few pixels."""
    x, y, z = surface.face.T
    across, front = np.abs(x), z > -0.034
    middle = people.brow_line(across)
    brow = 0.0035 * a["brow_thickness"] - np.hypot(y - middle, 1.5 * np.maximum(np.abs(across - 0.031) - 0.02, 0))
    found = found + (tone["brow"] - found) * (front * smoothstep(brow, -0.001, 0.001))[:, None]
    lips = 1 - np.hypot(across / 0.026, (y + 0.068) / 0.009)
    found = found + (tone["lips"] - found) * (0.8 * front * smoothstep(lips, -0.1, 0.2))[:, None]
    aside, iris = across - 0.031, np.hypot(across - 0.031, y)
    eye = 1 - np.hypot(aside / 0.015, y / 0.007)
    white = np.float32([0.62, 0.58, 0.55])
    colour = tone["iris"] + (white - tone["iris"]) * smoothstep(iris, 0.005, 0.0075)[:, None]
    return found + (colour - found) * (front * smoothstep(eye, -0.1, 0.2))[:, None]
