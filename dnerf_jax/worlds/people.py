"""Colours of people, in linear light: of both worlds, whose latents have the same attributes for them."""

import numpy as np

_SKIN_TONES = (
    np.array([[0.78, 0.60, 0.50], [0.73, 0.52, 0.40], [0.60, 0.40, 0.28], [0.42, 0.26, 0.17], [0.24, 0.14, 0.09]])
    ** 2.2
)
_HAIR_TONES = np.array([[0.012, 0.009, 0.008], [0.050, 0.026, 0.014], [0.19, 0.105, 0.045], [0.38, 0.26, 0.13]])
_GREY = np.array([0.33, 0.33, 0.34])
_IRIS_TONES = np.array([[0.03, 0.015, 0.008], [0.09, 0.045, 0.015], [0.08, 0.14, 0.06], [0.10, 0.20, 0.32]])


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
