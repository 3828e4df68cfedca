"""What DatasetGAN, the baseline, is to do: distil a 2D generator, learn labels of its pixels, write pairs."""

import dataclasses
from typing import Self

from dnerf_jax.models.image_generators import ImageGeneratorConfig
from dnerf_jax.ops.ranges import Count, Fraction, Natural, NotNegative, Positive, Seed


@dataclasses.dataclass(frozen=True)
class Data:
    """Which renders the generator is distilled from, one view of every identity.

    Attributes:
      identities: how many.
      held_out: how many of them, the last, are never trained on.
      processes: that render them.
    """

    identities: Count
    held_out: Count
    processes: Count


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The networks that label pixels by their features.

    Attributes:
      members: how many.
      widths: of the hidden layers of each.
      pixels: of every labelled view, drawn evenly, which they learn from; views with fewer give all.
      steps, batch: how long, and how many pixels a step, of each network its own.
      learning_rate: of Adam.
    """

    members: Count
    widths: tuple[Count, ...]
    pixels: Count
    steps: Count
    batch: Count
    learning_rate: Positive


@dataclasses.dataclass(frozen=True)
class Settings:
    """DatasetGAN on a world.

    Attributes:
      seed: of what is drawn at random: identities, first parameters, batches, pixels, the pairs.
      labelled: the pack of labelled views, a folder or the name of an embedded one; its classes say which world.
      generator: the architecture of the 2D generator, whose resolution the renders have.
      data: the renders that it is distilled from.
      steps, batch: of the distillation, and how many images a step.
      refine_at: steps after which the images' resolution doubles; it ends at the generator's.
      learning_rate, final_learning_rate, warmup_steps: a linear warm-up, then exponential decay (Muon, Adam for what
        is no matrix).
      style_init: factor on the initial weights that turn w into styles.
      mapping_boost: factor on the mapping network's steps.
      ema_decay: of the moving average of the parameters, which is what is kept.
      color_weight, gradient_weight: of the losses, the squared difference of images and that of their gradients.
      save_every, sheet_every: steps between checkpoints, and between sheets with held-out scores.
      ensemble: what labels the pixels.
      dropped: share of the images, those whose labels are most uncertain, that are no pairs.
      test: packs of exact labels, whose latents and cameras are labelled and scored.
    """

    seed: Seed
    labelled: str
    generator: ImageGeneratorConfig
    data: Data
    steps: Count
    batch: Count
    refine_at: tuple[Natural, ...]
    learning_rate: Positive
    final_learning_rate: Positive
    warmup_steps: Natural
    style_init: NotNegative
    mapping_boost: Positive
    ema_decay: Fraction
    color_weight: NotNegative
    gradient_weight: NotNegative
    save_every: Count
    sheet_every: Count
    ensemble: Ensemble
    dropped: Fraction
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.data.held_out >= self.data.identities:
            raise ValueError(
                f"data.held_out is {self.data.held_out} of {self.data.identities} identities: leave at least one to "
                "train on"
            )
        if self.generator.resolution >> len(self.refine_at) < 4:
            raise ValueError(
                f"refine_at has {len(self.refine_at)} steps, at which images double: those of "
                f"{self.generator.resolution} pixels would begin below 4. Name fewer"
            )

    def resolution(self, step: int) -> int:
        """Of the images of step number `step`, counted from 1."""
        return self.generator.resolution >> sum(step <= at for at in self.refine_at)

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        fixed = {"seed": 0, "labelled": "", "save_every": 1, "sheet_every": 1, "dropped": 0.0, "test": ()}
        return dataclasses.replace(self, **fixed)  # type: ignore[arg-type]
