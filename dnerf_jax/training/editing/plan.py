"""What an edit is to do: how much each term of its loss counts, and the stages in which it is sought."""

import dataclasses
from typing import Literal

from dnerf_jax.ops.ranges import Count, Natural, NotNegative, Positive, Seed, Share, Tilt
from dnerf_jax.training.inversion.plan import STAGES, Staged


@dataclasses.dataclass(frozen=True)
class Terms:
    """Weights of the loss of section 5.4, and of what we add to it; 0 leaves a term out.

    Attributes:
      label: lambda_1, of the labels' cross-entropy against the edited mask.
      rgb: lambda_2, of the mean squared error of colours in [-1, 1] outside of the region of interest.
      perceptual: lambda_3, of the perceptual distance outside of the region.
      identity: of the distance of the faces' descriptors before and after; where no face's points are known it is 0.
      staying: of the squared distance from the latent before the edit, as a share of that latent's own square.
    """

    label: NotNegative
    rgb: NotNegative
    perceptual: NotNegative
    identity: NotNegative
    staying: NotNegative


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage: steps of Adam, then iterations of Gauss-Newton on the same numbers.

    Attributes:
      steps, learning_rate: of Adam; a cosine to a twentieth.
      rays: pixels of the neural rendering that a step looks at, and Gauss-Newton.
      whole: steps look at whole final images, through the super-resolution, as the perceptual and the identity term
        need; else at rays, which is several times quicker, and these two terms are left out.
      newton: iterations of Gauss-Newton (see `inversion.newton`), each of which costs a gradient for every number
        sought: for "z".
    """

    steps: Natural
    learning_rate: Positive
    rays: Count
    whole: bool
    newton: Natural


@dataclasses.dataclass(frozen=True)
class Settings(Staged):
    """A semantic edit.

    Attributes:
      seed: of the pixels that steps look at.
      stages: which of "z", "w", "w+", "tune" are run, in this order. "z" is left out for a scene that has none.
      enough: IoU of the edited classes with the wanted mask from which on later stages are not run.
      terms: the loss.
      class_balance: small classes of the mask count more: weights are frequencies to the power of minus this.
      margin: by how much the region of interest is widened, in image sizes.
      least: the share of a class's region that a painted mask must change for the class to count as edited.
      views: yaw of the further views in which the scene is kept outside of the edited classes, degrees beside the
        edited one.
      z, w, wplus, tune: the stages.
    """

    seed: Seed
    stages: tuple[Literal["z", "w", "w+", "tune"], ...]
    enough: Share
    terms: Terms
    class_balance: NotNegative
    margin: Share
    least: Share
    views: tuple[Tilt, ...]
    z: Stage
    w: Stage
    wplus: Stage
    tune: Stage

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages:
            raise ValueError(f"there are no stages, expected some of {STAGES}: an edit is sought in one at least")
