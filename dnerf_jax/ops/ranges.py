"""Numbers with their ranges, as types: `steps: Natural` in settings, `count: Count` in a door's signature.

A type checker sees plain numbers. Where values come from outside, `io.schema` and `cli` check them; the --help of a
door says the ranges.
"""

import dataclasses
import math
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from `least` to `most`, or strictly `above` and `below`; None is no bound."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {
            "at least": self.least,
            "above": self.above,
            "at most": self.most,
            "below": self.below,
        }
        return " and ".join(f"{words} {bound:,}" for words, bound in bounds.items() if bound is not None)


Natural = Annotated[int, Range(least=0)]
Count = Annotated[int, Range(least=1)]
Layers = Annotated[int, Range(least=1, most=64)]  # of a network: what more would take is time only
Classes = Annotated[int, Range(least=0, most=255)]  # the id 255 means ignore
Port = Annotated[int, Range(least=0, most=65535)]  # of a server; 0 is any that is free
Seed = Annotated[int, Range(least=0, most=2**31 - 1)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(least=0)]
Share = Annotated[float, Range(least=0, most=1)]
Fraction = Annotated[float, Range(least=0, below=1)]  # of what something must be left
Angle = Annotated[float, Range(least=0, most=90)]  # degrees to either side
Tilt = Annotated[float, Range(least=-90, most=90)]  # degrees up or down
HalfTurn = Annotated[float, Range(least=0, most=180)]  # the same all the way round
Truncation = Annotated[float, Range(least=-2, most=2)]  # 1 leaves w as it is; what lies further away is no scene
