"""What an inversion is to do: its stages, and what each of them may change."""

import dataclasses
from typing import Any, Literal

from dnerf_jax.ops.ranges import Angle, Count, HalfTurn, Natural, NotNegative, Seed

STAGES = ("z", "w", "w+", "tune")


class Staged:
    """Settings that have stages, each with its own in the field of its name ("w+" in `wplus`)."""

    stages: tuple[str, ...]

    def __post_init__(self) -> None:
        places = [STAGES.index(stage) for stage in self.stages]
        if places != sorted(set(places)):
            raise ValueError(f"stages are {self.stages}, expected some of {STAGES} in this order, each once")

    def stage(self, name: str) -> Any:
        """The settings of a stage by its name."""
        return getattr(self, "wplus" if name == "w+" else name)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage: steps of Adam on its latents and the free numbers of the camera, then Gauss-Newton on the same.

    Attributes:
      steps, learning_rate: of Adam; a cosine to a twentieth.
      camera_learning_rate: of the camera's free numbers: radians, and shares of radius and focal length.
      rays: pixels of the neural rendering that a step looks at.
      whole: compare final images, through the super-resolution, instead of the neural rendering.
      newton: iterations of Gauss-Newton after Adam (see `newton`); each costs a gradient for every number sought.
      perceptual: weight of the perceptual distance beside the mean squared error, where `whole`.
      staying: weight of the penalty: in "w+" on leaving W, in "tune" on what changes around the latent (locality).
      patience: Adam stops early where so many steps brought less than 0.5 %; 0 never does.
    """

    steps: Natural
    learning_rate: NotNegative
    camera_learning_rate: NotNegative
    rays: Count
    whole: bool
    newton: Natural
    perceptual: NotNegative
    staying: NotNegative
    patience: Natural


@dataclasses.dataclass(frozen=True)
class Settings(Staged):
    """An inversion.

    Attributes:
      seed: of candidates, and of the pixels that steps look at.
      stages: which of "z", "w", "w+", "tune" are run, in this order; none is the start alone.
      free: numbers of the camera that are sought: "yaw", "pitch", "roll", "radius", "pivot", "focal".
      encoder: start from the encoder's guess where there is one, else from the best of the candidates.
      candidates: random latents that the start is chosen of, each from a pose within `yaw` and `pitch`; with an encoder
        its guesses at so many slightly changed images.
      restarts: how many of the best candidates are followed for `trial_steps` steps before the best of them goes on.
      trial_steps: of Adam on each of these.
      yaw, pitch: poses are looked for within these degrees of frontal.
      z, w, wplus, tune: the stages.
      class_balance: small classes of a mask count more: weights are frequencies to the power of minus this.
      whole_masks: "w+" compares a mask that comes without a photo as if its `whole` were set: lips and brows are a few
        pixels thin, and the branch's super-resolution draws them otherwise than its raw labels have them.
    """

    seed: Seed
    stages: tuple[Literal["z", "w", "w+", "tune"], ...]
    free: tuple[Literal["yaw", "pitch", "roll", "radius", "pivot", "focal"], ...]
    encoder: bool
    candidates: Count
    restarts: Count
    trial_steps: Natural
    yaw: HalfTurn
    pitch: Angle
    class_balance: NotNegative
    whole_masks: bool
    z: Stage
    w: Stage
    wplus: Stage
    tune: Stage

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.free)) != len(self.free):
            raise ValueError(f"free is {self.free}, expected each number of the camera once")
