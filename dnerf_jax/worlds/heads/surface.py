"""What is painted on a head: labels and colours, as functions of the canonical surface point.

Canonical points are metres in the world's axes (x the subject's left, y up, z forward) about the eyes'
midpoint of the default person. Colours are linear light, about 0 to 1. Because everything follows the
canonical point, which is interpolated within the hit triangle, a surface point has the same label and albedo
in every view.
"""

import numpy as np

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.worlds import people
from dnerf_jax.worlds.heads.table import EYE, HAIR, MOUTH, HeadTable
from dnerf_jax.worlds.latents import smoothstep

LABELS = LabelMap(
    names=(
        "background",
        "skin",
        "brow",
        "eye",
        "nose",
        "upper_lip",
        "lower_lip",
        "mouth",
        "ear",
        "neck",
        "hair",
        "cloth",
    ),
    colors=(
        (0, 0, 0),
        (230, 190, 150),
        (120, 70, 20),
        (40, 120, 255),
        (255, 160, 60),
        (220, 20, 60),
        (255, 105, 180),
        (120, 0, 0),
        (255, 255, 0),
        (0, 200, 120),
        (130, 60, 200),
        (90, 90, 110),
    ),
)
SKIN, BROW_ID, EYE_ID, NOSE, UPPER_LIP, LOWER_LIP, MOUTH_ID, EAR, NECK, HAIR_ID, CLOTH = range(1, 12)

FACE_FRONT = -0.034  # z beyond which brows and nose are looked for
HEM = 0.014  # metres from the collar's edge to its seam
IRIS_DEGREES, PUPIL_DEGREES = 25.0, 10.0  # half angles seen from the eye's centre


def brow(points: np.ndarray, thickness: float) -> np.ndarray:
    """Signed depth inside the eyebrows (n,): metres, positive within."""
    across = np.abs(points[:, 0])
    middle = people.brow_line(across)
    half = (
        0.0027
        * thickness
        * np.interp(across, (0.009, 0.0115, 0.020, 0.040, 0.054), (-0.3, 1.0, 1.05, 0.8, 0.1), right=-1.0)
    )
    return half - np.abs(points[:, 1] - middle)


def nose(points: np.ndarray) -> np.ndarray:
    """Signed depth inside the nose's outline (n,): metres, positive within."""
    height = (-0.0462, -0.0455, -0.0425, -0.035, -0.027, -0.020, -0.008, 0.004, 0.006)
    half_width = (0.0, 0.010, 0.0185, 0.0195, 0.0165, 0.0105, 0.0075, 0.0055, 0.0)
    inside = np.interp(points[:, 1], height, half_width, left=-1.0, right=-1.0)
    return inside - np.abs(points[:, 0])


def collar(points: np.ndarray, shape: float) -> np.ndarray:
    """Height (n,) in metres below which the clothes begin; `shape` goes from a deep V (-1) to a high round (1)."""
    v = 0.45 * smoothstep(-shape, -0.3, 1.0)
    neckline = -0.2055 - 0.5 * points[:, 2] + 0.016 * shape
    in_front = smoothstep(points[:, 2], -0.10, -0.07)
    return neckline - v * np.maximum(0.0, 0.05 - np.abs(points[:, 0])) * in_front


def labels(points: np.ndarray, fields: np.ndarray, groups: np.ndarray, a: dict[str, float]) -> np.ndarray:
    """Class ids (n,) uint8 of surface points.

    points: (n, 3) canonical; of hair the coordinates of hair.shell without the last.
    fields: (n, 4) lip, ear, mouth, jaw; of hair the first is the share of hair colour. groups: (n,) of `table`.
    a: the attributes, and `jaw_middle`, where the lower lip begins.
    """
    lip, ear, mouth, jaw = fields.T
    x, y, z = points.T
    across = np.abs(x)
    front = z > FACE_FRONT
    found = np.full(len(points), SKIN, np.uint8)
    depths = (-0.1493, -0.0993, -0.0693, -0.0543, -0.0193, 0.0307)
    found[y < np.interp(z, depths, (-0.0468, -0.0548, -0.0648, -0.0868, -0.1028, -0.1048))] = NECK
    found[ear > 0.5] = EAR
    found[front & (brow(points, a["brow_thickness"]) > 0)] = BROW_ID
    found[front & (nose(points) > 0)] = NOSE
    # The lower lip sinks with the jaw; at the corners, which hardly do, it is what lies below the slit.
    slit = np.interp(across, (0.010, 0.018, 0.023), (-0.0675, -0.0683, -0.0688))
    lower = np.where(across < 0.013, jaw >= a["jaw_middle"], y < slit)
    found[lip > 0.5] = np.where(lower, LOWER_LIP, UPPER_LIP)[lip > 0.5]
    found[mouth > 0.5] = MOUTH_ID
    found[y < collar(points, a["collar"])] = CLOTH
    found[groups == EYE] = EYE_ID
    found[groups == MOUTH] = MOUTH_ID
    found[groups == HAIR] = np.where(lip > 0.5, HAIR_ID, SKIN)[groups == HAIR]
    return found


def tones(a: dict[str, float]) -> dict[str, np.ndarray]:
    """Albedos (3,) of skin, hair, brows, lips, iris and cloth from the attributes."""
    return people.tones(a) | {"cloth": np.array([a["cloth_red"], a["cloth_green"], a["cloth_blue"]])}


def vertex_albedo(table: HeadTable, a: dict[str, float], tone: dict[str, np.ndarray]) -> np.ndarray:
    """Smooth part of the albedo, (V, 3), at the table's vertices: skin, blush, stubble, lips, lash line, teeth."""
    x, y, z = table.canonical.T
    across = np.abs(x)

    def spot(centre_x, centre_y, radius):
        return np.exp(-(((across - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2)) * (z > -0.06)

    column = np.s_[:, None]
    mottle = sum(
        np.sin(w[0] * x + w[1] * y + w[2] * z + w[3]) for w in ((45, 60, 30, 1), (-80, 50, 90, 2), (120, -140, 60, 4))
    )
    albedo = tone["skin"] * (1 + 0.015 * mottle)[column]
    blush = (0.4 + 0.6 * a["redness"]) * (
        0.55 * spot(0.042, -0.035, 0.018) + 0.5 * spot(0, -0.038, 0.012) + 0.5 * table.ear
    )
    albedo *= 1 - blush[column] * np.array([0.02, 0.22, 0.20])
    albedo *= 1 - (0.22 * spot(0.030, -0.012, 0.010))[column] * np.array([0.7, 1.0, 0.9])
    beard = (0.6 * a["stubble"] * smoothstep(-y, 0.045, 0.062) * smoothstep(z, -0.089, -0.049) * (y > -0.112))[column]
    albedo += (np.minimum(tone["hair"], 0.10) * 0.5 + 0.01 - albedo) * beard
    albedo += (tone["lips"] - albedo) * (0.75 * table.lip)[column]
    lashes = 0.25 + 0.60 * smoothstep(y + 0.15 * (across - 0.030), -0.003, 0.001)  # the upper ones are longer
    albedo *= 1 - (lashes * smoothstep(table.lid, 0.45, 0.80))[column]
    albedo[table.group == MOUTH] = (0.60, 0.54, 0.44)
    albedo[table.tongue > 0.5] = (0.35, 0.08, 0.08)
    albedo[table.group == MOUTH] *= _light_in_mouth(z)[table.group == MOUTH, None]
    return albedo.astype(np.float32)


def _light_in_mouth(z):
    """How much light from between the lips reaches depth z (n,), canonical metres."""
    return 0.06 + 0.94 * smoothstep(z, -0.012, 0.016)


def sharpen(
    albedo: np.ndarray, points: np.ndarray, mouth: np.ndarray, a: dict[str, float], tone: dict[str, np.ndarray]
) -> np.ndarray:
    """Adds to body albedo (n, 3) what is too sharp for vertices: eyebrows, the mouth's inside, clothes."""
    inside = np.float32([0.22, 0.045, 0.04]) * _light_in_mouth(points[:, 2:3]).astype(np.float32)
    albedo = np.where((mouth > 0.5)[:, None], inside, albedo)
    near = np.flatnonzero((points[:, 2] > FACE_FRONT) & (np.abs(points[:, 1] - 0.0195) < 0.008))
    share = 0.92 * smoothstep(brow(points[near], a["brow_thickness"]), -0.0008, 0.0012)[:, None]
    albedo[near] += (tone["brow"] - albedo[near]) * share
    below = collar(points, a["collar"]) - points[:, 1]
    worn = np.flatnonzero(below > 0)
    seam = 1 - 0.35 * smoothstep(np.abs(below[worn] - HEM), 0.0018, 0.0008)
    albedo[worn] = tone["cloth"] * (seam * (1 + 0.10 * smoothstep(below[worn], HEM, 0.0)))[:, None]
    return albedo


def eye_albedo(direction: np.ndarray, tone: dict[str, np.ndarray]) -> np.ndarray:
    """Albedo (n, 3) of eyeball points by their direction (n, 3) from the eye's centre: pupil, iris, white."""
    direction = direction / (np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9)
    angle = np.degrees(np.arccos(np.clip(direction[:, 2:3], -1, 1)))
    white = np.array([0.62, 0.58, 0.55]) * (1 - 0.25 * smoothstep(angle, 30, 75))
    iris = tone["iris"] * (1.5 - 0.9 * smoothstep(angle, 12, IRIS_DEGREES))
    albedo = iris + (white - iris) * smoothstep(angle, IRIS_DEGREES - 1.5, IRIS_DEGREES + 1.5)
    return 0.004 + (albedo - 0.004) * smoothstep(angle, PUPIL_DEGREES - 1, PUPIL_DEGREES + 1)


def hair_shade(points: np.ndarray) -> np.ndarray:
    """Brightness (n, 1) of strands, about 1: a fixed, low-contrast function of the hair coordinates."""
    azimuth = np.arctan2(points[:, 0], points[:, 1])
    way = points[:, 2]
    coarse, fine = np.sin(26 * azimuth + 2 * np.sin(5 * azimuth) + way), np.sin(47 * azimuth + 3 * way)
    strands = 0.6 * coarse + 0.4 * fine
    return (1 + 0.14 * smoothstep(way, 0.05, 0.4) * strands + 0.10 * (smoothstep(way, 0, 0.6) - 0.5))[:, None]
