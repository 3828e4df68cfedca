"""Latent -> attributes of a body: one map per latent dimension (see `worlds.latents`), listed in `ATTRIBUTES`.

Notation: z (Z_DIM,) is the latent; a is a dictionary name -> float of attribute values; corners (C,) weigh the corners
of anny's phenotypes, of which the `table` makes shape coefficients (S,). Attributes that follow several dimensions do
so in `attributes` below, and nowhere else: ancestry weights (two dimensions), melanin (those two and its own), hair
lightness (its own and melanin), greyness (its own and age).
"""

import numpy as np

from dnerf_jax.worlds.latents import Attribute, hat, values

Z_DIM = 40

ATTRIBUTES = (
    # phenotype
    Attribute("age", 0.64, 0.95),
    Attribute("gender", 0.0, 1.0, 2.6),
    Attribute("weight", 0.15, 0.85),
    Attribute("muscle", 0.15, 0.85),
    Attribute("height", 0.22, 0.58),
    Attribute("proportions", 0.0, 1.0),
    Attribute("ancestry_african", -2.2, 2.2),
    Attribute("ancestry_asian", -2.2, 2.2),
    Attribute("melanin", -0.2, 0.2),
    # hair and face
    Attribute("hair_length", -0.3, 1.0),
    Attribute("hair_volume", 0.006, 0.022),
    Attribute("hair_hue", 0.0, 1.0),
    Attribute("hair_lightness", 0.0, 1.0),
    Attribute("greyness", -4.5, 1.5),
    Attribute("redness", 0.0, 1.0),
    Attribute("iris", 0.0, 1.0),
    Attribute("brow_thickness", 0.75, 1.5),
    # shirt
    Attribute("shirt_red", 0.02, 0.75, 2.2),
    Attribute("shirt_green", 0.02, 0.75, 2.2),
    Attribute("shirt_blue", 0.02, 0.75, 2.2),
    Attribute("sleeve", 0.1, 1.0, 2.6),
    Attribute("collar", 0.0, 1.0),
    Attribute("hem", 0.0, 1.0),
    Attribute("shirt_loose", 0.0, 1.0),
    Attribute("stripes", -1.0, 1.0),
    # trousers, shorts, a skirt
    Attribute("trouser_red", 0.02, 0.6, 2.2),
    Attribute("trouser_green", 0.02, 0.6, 2.2),
    Attribute("trouser_blue", 0.02, 0.6, 2.2),
    Attribute("leg", 0.3, 1.0, 3.5),
    Attribute("trouser_loose", 0.0, 1.0),
    Attribute("flare", -1.0, 1.0),
    # shoes
    Attribute("shoe_red", 0.02, 0.6, 2.2),
    Attribute("shoe_green", 0.02, 0.6, 2.2),
    Attribute("shoe_blue", 0.02, 0.6, 2.2),
    Attribute("boot", 0.0, 1.0),
    Attribute("sole", 0.0, 1.0),
    # light
    Attribute("light_side", -0.9, 0.9),
    Attribute("light_up", 0.1, 1.2),
    Attribute("light_strength", 0.8, 1.15),
    Attribute("sky", 0.35, 0.55),
)

AGE_ANCHORS = (2 / 3, 1.0)
GENDER_ANCHORS = HEIGHT_ANCHORS = PROPORTION_ANCHORS = (0.0, 1.0)
MUSCLE_ANCHORS = WEIGHT_ANCHORS = (0.0, 0.5, 1.0)
ANCESTRIES = ("african", "asian", "caucasian")
# What spans the corners, slowest first; the ancestries come last, fastest.
PHENOTYPE = {
    "age": AGE_ANCHORS,
    "gender": GENDER_ANCHORS,
    "muscle": MUSCLE_ANCHORS,
    "weight": WEIGHT_ANCHORS,
    "height": HEIGHT_ANCHORS,
    "proportions": PROPORTION_ANCHORS,
}


def attributes(z: np.ndarray) -> dict[str, float]:
    """Maps a latent z (Z_DIM,) to attribute values by name, including those that follow several dimensions."""
    a = values(z, ATTRIBUTES)
    logits = np.array([a["ancestry_african"], a["ancestry_asian"], 0.0])
    ancestry = np.exp(logits) / np.exp(logits).sum()
    a.update(zip(ANCESTRIES, ancestry.tolist(), strict=True))
    a["melanin"] = float(np.clip(ancestry @ [0.72, 0.28, 0.10] + a["melanin"], 0.02, 0.98))
    a["hair_lightness"] *= 1.0 - 0.85 * a["melanin"]
    a["greyness"] = float(1.0 / (1.0 + np.exp(-1.5 * a["greyness"] - 8.0 * (a["age"] - 0.78))))
    return a


def corners(a: dict[str, float]) -> np.ndarray:
    """Weights (C,) of the phenotype corners, products of hat functions; they sum to 1."""
    weights = np.ones(1)
    for name, anchors in PHENOTYPE.items():
        weights = np.outer(weights, hat(a[name], anchors)).ravel()
    return np.outer(weights, [a[name] for name in ANCESTRIES]).ravel()
