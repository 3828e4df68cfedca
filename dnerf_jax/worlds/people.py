"""What people of both worlds have in common: attributes that follow others, brows, and colours in linear light."""

import numpy as np

ANCESTRIES = ("african", "asian", "caucasian")
_SKIN_TONES = (
    np.array([[0.78, 0.60, 0.50], [0.73, 0.52, 0.40], [0.60, 0.40, 0.28], [0.42, 0.26, 0.17], [0.24, 0.14, 0.09]])
    ** 2.2
)
_HAIR_TONES = np.array([[0.012, 0.009, 0.008], [0.050, 0.026, 0.014], [0.19, 0.105, 0.045], [0.38, 0.26, 0.13]])
_GREY = np.array([0.33, 0.33, 0.34])
_IRIS_TONES = np.array([[0.03, 0.015, 0.008], [0.09, 0.045, 0.015], [0.08, 0.14, 0.06], [0.10, 0.20, 0.32]])


def completed(a: dict[str, float]) -> dict[str, float]:
    """The attributes of a latent with those that follow several dimensions.

    Ancestry weights (two dimensions), melanin (those two and its own), hair lightness (its own and melanin), greyness
    (its own and age).
    """
    logits = np.array([a["ancestry_african"], a["ancestry_asian"], 0.0])
    ancestry = np.exp(logits) / np.exp(logits).sum()
    a = a | dict(zip(ANCESTRIES, ancestry.tolist(), strict=True))
    a["melanin"] = float(np.clip(ancestry @ [0.72, 0.28, 0.10] + a["melanin"], 0.02, 0.98))
    a["hair_lightness"] *= 1.0 - 0.85 * a["melanin"]
    a["greyness"] = float(1.0 / (1.0 + np.exp(-1.5 * a["greyness"] - 8.0 * (a["age"] - 0.78))))
    return a


def brow_line(across: np.ndarray) -> np.ndarray:
    """Height (n,) of the eyebrows' middle above the eyes, metres, so far from the face's (n,)."""
    return np.interp(across, (0.010, 0.022, 0.038, 0.046, 0.053), (0.0193, 0.0211, 0.0222, 0.0203, 0.0160))


def tones(a: dict[str, float]) -> dict[str, np.ndarray]:
    """Albedos (3,) of skin, hair, brows, lips and iris from the attributes.

    Which are melanin, redness, hair_lightness, hair_hue, greyness and iris, all in [0, 1].
    """
    skin = _ramp(a["melanin"], _SKIN_TONES) * (1 + (a["redness"] - 0.5) * np.array([0.10, -0.14, -0.14]))
    hair = _ramp(a["hair_lightness"], _HAIR_TONES)
    hair = hair * (1 + (a["hair_hue"] - 0.35) * np.array([0.5, -0.35, -0.7]))
    hair = hair + (_GREY * (0.45 + 0.75 * a["hair_lightness"]) - hair) * a["greyness"]
    lips = np.array([0.55, 0.17 - 0.04 * a["redness"], 0.16]) * skin.mean() ** 0.45 * 1.1
    return {
        "skin": skin,
        "hair": hair,
        "brow": np.minimum(hair * 0.8, 0.25),
        "lips": lips,
        "iris": _ramp(a["iris"] * (1 - 0.7 * a["melanin"]), _IRIS_TONES),
    }


def _ramp(value, colours):
    """Colour (3,) at `value` in [0, 1] along evenly spaced colours (k, 3)."""
    return np.array([np.interp(value, np.linspace(0, 1, len(colours)), channel) for channel in colours.T])
