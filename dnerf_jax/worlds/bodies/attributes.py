"""Latent -> attributes of a body: one map per latent dimension (see `worlds.latents`), listed in `ATTRIBUTES`.

Notation: z (Z_DIM,) is the latent; a is a dictionary name -> float of attribute values; corners (C,) weigh the corners
of anny's phenotypes, of which the `table` makes shape coefficients (S,). Those that follow several dimensions are
`people.completed`.
"""

import numpy as np

from dnerf_jax.worlds import people
from dnerf_jax.worlds.latents import Attribute, hat, values
from dnerf_jax.worlds.people import ANCESTRIES

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

# What spans the corners, and anny's anchors of it, slowest first; the ancestries come last, fastest.
PHENOTYPE = {
    "age": (2 / 3, 1.0),
    "gender": (0.0, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
}


def attributes(z: np.ndarray) -> dict[str, float]:
    """Maps a latent z (Z_DIM,) to attribute values by name, including those that follow several dimensions."""
    return people.completed(values(z, ATTRIBUTES))


def corners(a: dict[str, float]) -> np.ndarray:
    """Weights (C,) of the phenotype corners, products of hat functions; they sum to 1."""
    weights = np.ones(1)
    for name, anchors in PHENOTYPE.items():
        weights = np.outer(weights, hat(a[name], anchors)).ravel()
    return np.outer(weights, [a[name] for name in ANCESTRIES]).ravel()
