"""What the training of a network for points on labelled clouds is to do."""

import dataclasses
from typing import Annotated, Literal, Self

from dnerf_jax.networks.pointnet import PointNetConfig
from dnerf_jax.ops.ranges import Count, HalfTurn, Natural, NotNegative, Positive, Range, Seed


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How clouds differ from those that are given, drawn anew at every step.

    Attributes:
      turn: degrees by which they are turned about y, the vertical, at most.
      smallest, largest: they are scaled by a factor between these.
      jitter: standard deviation by which each point is moved along each axis; the farthest point is at 1.
    """

    turn: HalfTurn
    smallest: Annotated[float, Range(least=0.1, most=10)]
    largest: Annotated[float, Range(least=0.1, most=10)]
    jitter: NotNegative

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest is {self.smallest} and largest {self.largest}: expected the smaller first")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The training of a network for points.

    Attributes:
      seed: of what is drawn at random: first weights, the order of the clouds, augmentation, dropout.
      network: its architecture; num_classes may be left to the clouds.
      points: of each cloud, how many the network sees: those that lie farthest apart.
      split: of datasets, which part to learn from, and to be scored on; a folder of clouds has none.
      also: clouds to learn from too, a dataset or a folder; "" is none.
      test: datasets or folders of clouds that the network is scored on.
      augmentation: what is drawn anew at every step.
      orthogonality: weight of the loss that keeps feature transforms close to rotations.
      steps, batch: how long, and how many clouds a step.
      optimizer, learning_rate, warmup_steps, weight_decay: as for segmentation networks.
      save_every: steps between checkpoints.
    """

    seed: Seed
    network: PointNetConfig
    points: Count
    split: str
    also: str
    test: tuple[str, ...]
    augmentation: Augmentation
    orthogonality: NotNegative
    steps: Count
    batch: Count
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    warmup_steps: Natural
    weight_decay: NotNegative
    save_every: Count

    @property
    def trained(self) -> Literal["all"]:
        """Which layers learn, as segmentation networks have it."""
        return "all"

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        return dataclasses.replace(self, seed=0, split="", also="", test=(), save_every=1)
