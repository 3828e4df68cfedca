"""What the training of a segmentation network on a dataset is to do."""

import dataclasses
from typing import Annotated, Literal, Self

from dnerf_jax.networks.deeplab import DeepLabConfig
from dnerf_jax.ops.ranges import Count, Fraction, Natural, NotNegative, Positive, Range, Seed, Share


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How images differ from those of the dataset, drawn anew at every step.

    Attributes:
      flip: share of the images that are mirrored; classes of the left and the right then change places.
      smallest, largest: images are scaled by a factor between these, then cropped at a random place, or surrounded by
        grey that counts for nothing.
      shift: where images are smaller than their frame, or cropped, how far from the middle they may lie: 1 is anywhere.
      brightness, contrast, saturation: largest change of these factors.
    """

    flip: Share
    smallest: Annotated[float, Range(least=0.1, most=10)]
    largest: Annotated[float, Range(least=0.1, most=10)]
    shift: Share
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest is {self.smallest} and largest {self.largest}: expected the smaller first")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The training of a segmentation network.

    Attributes:
      seed: of what is drawn at random: first weights, the order of the views, augmentation, dropout.
      network: its architecture; num_classes may be left to the dataset.
      initial: folder of a network that it starts from, as converters.torchvision or converters.efficientnet writes
        it; "" is from scratch.
      trained: all layers, or the last alone, the others being those of `initial`.
      resolution: side in pixels of the images that the network sees; those of another size are resized.
      split: of the dataset, which part to learn from; a labelled pack has none.
      real: a labelled pack to learn from too, a folder or the name of an embedded one; "" is none.
      real_share: share of every batch that comes from it, at least a view; 0 without `real`.
      test: packs of exact labels that the network is scored on, the first of them during the training too.
      augmentation: what is drawn anew at every step.
      steps, batch: how long, and how many images a step.
      optimizer: sgd, of momentum 0.9 with the decay added to the gradient, as DeepLab's authors have it, or adamw.
      learning_rate: after the warm-up; it falls to zero as (1 - step / steps) to the power of 0.9.
      warmup_steps: over which it rises from zero.
      weight_decay: of kernels; biases and batch norm have none.
      save_every, score_every: steps between checkpoints, and between scores on the first pack.
      confident: pixels of a dataset whose confidence, the probability that the branch gives their label, is below this
        count for nothing; 0 is none of them. Of datasets that were made with the modality confidence.
    """

    seed: Seed
    network: DeepLabConfig
    initial: str
    trained: Literal["all", "last"]
    resolution: Count
    split: str
    real: str
    real_share: Share
    test: tuple[str, ...]
    augmentation: Augmentation
    steps: Count
    batch: Count
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    warmup_steps: Natural
    weight_decay: NotNegative
    save_every: Count
    score_every: Count
    confident: Share = 0.0

    def __post_init__(self) -> None:
        if bool(self.real) != bool(self.real_share):
            raise ValueError(
                f"real is {self.real!r} and real_share {self.real_share:g}: name both a labelled pack and its share, "
                "or neither"
            )
        if self.real and not 0 < self.real_views < self.batch:
            raise ValueError(
                f"real_share {self.real_share:g} of a batch of {self.batch} is {self.real_views} views, expected 1 to "
                f"{self.batch - 1}"
            )

    @property
    def real_views(self) -> int:
        """How many views of a batch come from the real pack."""
        return round(self.real_share * self.batch) if self.real else 0

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        views = {"split": "", "confident": 0.0, "real": "", "real_share": 0.0, "test": ()}
        fixed = {"initial": "", "seed": 0, "save_every": 1, "score_every": 1} | views
        return dataclasses.replace(self, **fixed)  # type: ignore[arg-type]
