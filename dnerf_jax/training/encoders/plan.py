"""What the training of an encoder is to do."""

import dataclasses
from typing import Self

from dnerf_jax.networks.encoder import EncoderConfig
from dnerf_jax.ops.ranges import Angle, Count, Fraction, HalfTurn, Natural, NotNegative, Positive, Seed


@dataclasses.dataclass(frozen=True)
class Data:
    """Which renderings to learn from.

    Attributes:
      identities, views: how many latents, and views of each.
      held_out: how many identities, the last, are never trained on.
      yaw, pitch: cameras are drawn evenly within these degrees of frontal.
      processes: that render them, each with one thread; 1 renders in this process (on an accelerator).
    """

    identities: Count
    views: Count
    held_out: Count
    yaw: HalfTurn
    pitch: Angle
    processes: Count


@dataclasses.dataclass(frozen=True)
class Disturbances:
    """What photos have and renderings have not, drawn anew at every step.

    Attributes:
      roll: images are turned by up to so many degrees, both ways.
      shift: moved by up to so many image sizes, in each direction.
      zoom: scaled by up to this natural logarithm, both ways.
      aligned: share of the images that are left as they are framed.
      blur: largest standard deviation, in pixels of the encoder's images.
      noise: largest standard deviation, of values in [-1, 1].
      color: largest change of each channel's gain and offset, and of contrast.
      background: share of the images whose empty pixels become another colour.
      occlusion: share of the images of which a rectangle is covered.
    """

    roll: Angle
    shift: Fraction
    zoom: NotNegative
    aligned: Fraction
    blur: NotNegative
    noise: NotNegative
    color: NotNegative
    background: Fraction
    occlusion: Fraction


@dataclasses.dataclass(frozen=True)
class Settings:
    """The training of an encoder.

    Attributes:
      seed: of what is drawn at random.
      network: its architecture; z_dim becomes the generator's.
      data, disturbances: what it sees.
      steps, batch: how long, and how many images a step.
      learning_rate, weight_decay, warmup_steps: of AdamW; a linear warm-up, then a cosine to zero.
      save_every, score_every: steps between checkpoints, and between scores on held-out identities.
    """

    seed: Seed
    network: EncoderConfig
    data: Data
    disturbances: Disturbances
    steps: Count
    batch: Count
    learning_rate: Positive
    weight_decay: NotNegative
    warmup_steps: Natural
    save_every: Count
    score_every: Count

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        return dataclasses.replace(self, seed=0, save_every=1, score_every=1)
