"""What a pretraining run is to do."""

import dataclasses
from typing import Literal, Self

from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.ops.ranges import Count, Fraction, Natural, NotNegative, Positive, Seed
from dnerf_jax.training.pretraining.supervision import GuidedSampling
from dnerf_jax.worlds import views

KEPT_POSES = 60  # of those that a generator is trained in, which it keeps: as many as the paper's


@dataclasses.dataclass(frozen=True)
class Data:
    """Which renders to train on.

    Attributes:
      identities, views: how many heads, or bodies in the canonical pose, and views of each.
      posed: how many of them, the last, are rendered in a pose as well, one view of each: what the third stage learns
        from, and what is scored; 0 for worlds whose scenes have none.
      resolution: of the views in pixels, that of the generator's images.
      held_out: how many identities, the last, are never trained on.
      processes: that render them.
    """

    identities: Count
    views: Count
    resolution: Count
    held_out: Count
    processes: Count
    posed: Natural = 0


@dataclasses.dataclass(frozen=True)
class Settings:
    """A pretraining run.

    Attributes:
      seed: of what is drawn at random: identities, initial parameters, batches.
      world: "heads" or "bodies".
      start_from: a checkpoint of the same architecture, whose weights are trained on; "" for random ones.
      generator: the architecture.
      data: the renders to train on.
      steps, finish_steps, superresolution_steps: of the three stages.
      superresolution_views: how many views the third stage learns from, each of another identity; they stay in memory.
      refine_at: steps of the first stage after which the planes' resolution doubles; it ends at the generator's.
      identities_per_step, rays_per_identity, finish_rays_per_identity: the batches of the first two stages.
      stratified_samples, importance_samples, guided_samples: samples per ray, spread over the limits, where the model
        has density, and around the surface.
      guide_spread: standard deviation of the guided samples, in world units.
      learning_rate, final_learning_rate, warmup_steps: a linear warm-up, then exponential decay (Muon, Adam for what
        is no matrix, equalised weights): steps soon have to be small, for each sees few heads.
      superresolution_learning_rate: of the third stage; a cosine from there to a twentieth of it.
      finish_learning_rate: of the second stage, after a warm-up of the same length; a cosine from there to 1/40 of it.
      style_init: factor on the initial weights that turn w into styles.
      mapping_boost: factor on the mapping network's steps.
      ema_decay: of the moving average of the parameters, which is what is kept.
      color_weight, depth_weight, opacity_weight, gradient_weight: of the losses, the last of images alone.
      shape_weight: of how far a body's shape is told from w, in squared standard deviations.
      save_every, sheet_every: steps between checkpoints, and between sheets with held-out scores.
    """

    seed: Seed
    world: Literal["heads", "bodies"]
    start_from: str
    generator: GeneratorConfig
    data: Data
    steps: Natural
    finish_steps: Natural
    superresolution_steps: Natural
    superresolution_views: Count
    refine_at: tuple[Natural, ...]
    identities_per_step: Count
    rays_per_identity: Count
    finish_rays_per_identity: Count
    stratified_samples: Natural
    importance_samples: Natural
    guided_samples: Natural
    guide_spread: Positive
    learning_rate: Positive
    final_learning_rate: Positive
    finish_learning_rate: Positive
    warmup_steps: Natural
    style_init: NotNegative
    mapping_boost: Positive
    superresolution_learning_rate: Positive
    ema_decay: Fraction
    color_weight: NotNegative
    depth_weight: NotNegative
    opacity_weight: NotNegative
    gradient_weight: NotNegative
    shape_weight: NotNegative
    save_every: Count
    sheet_every: Count

    @property
    def ray_steps(self) -> int:
        """Steps of the first two stages."""
        return self.steps + self.finish_steps

    @property
    def total_steps(self) -> int:
        """Steps of all three stages."""
        return self.ray_steps + self.superresolution_steps

    def plane_resolution(self, step: int) -> int:
        """Of the planes that step number `step` renders, counted from 1."""
        return self.generator.plane_resolution >> sum(step <= at for at in self.refine_at if step <= self.steps)

    @property
    def architecture(self) -> GeneratorConfig:
        """The generator's, with how the world's scenes move."""
        moves, trained = views.named(self.world).articulation(), self.data.posed - self.data.held_out
        if moves is not None:
            moves = dataclasses.replace(moves, num_poses=min(KEPT_POSES, trained))
        return dataclasses.replace(self.generator, articulation=moves)

    @property
    def guided_sampling(self) -> GuidedSampling:
        """How the first stage samples its rays."""
        return GuidedSampling(self.stratified_samples, self.importance_samples, self.guided_samples, self.guide_spread)

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        return dataclasses.replace(self, seed=0, start_from="", save_every=0, sheet_every=0)

    def check(self) -> None:
        """Raises ValueError if world, data and generator do not fit each other."""
        world = views.named(self.world)
        for name, value, wanted in (
            ("z_dim", self.generator.z_dim, world.Z_DIM),
            ("c_dim", self.generator.c_dim, 0),
        ):
            if value != wanted:
                raise ValueError(
                    f"config.generator.{name} is {value}, expected {wanted}: the {self.world} world's latents have "
                    f"{world.Z_DIM} numbers and know of no camera."
                )
        template = world.articulation()
        if self.generator.articulation is not None:
            raise ValueError(f"config.generator.articulation is the {self.world} world's own: leave it out")
        data, size = self.data, self.generator.image_resolution
        if bool(data.posed) != bool(template) or (template and not data.held_out < data.posed <= data.identities):
            raise ValueError(
                f"config.data.posed is {data.posed}: expected "
                + (f"more than the {data.held_out} held out, up to {data.identities}" if template else "0 of heads")
            )
        if data.resolution != size:
            raise ValueError(
                f"config.data.resolution is {data.resolution}, the generator's images have {size} pixels: set them "
                "equal."
            )
        grid = self.generator.neural_rendering_resolution
        if data.resolution % grid:
            raise ValueError(
                f"config.data.resolution is {data.resolution}, no multiple of the generator's neural rendering "
                f"resolution of {grid}: what a ray shows is the mean of whole rendered pixels."
            )
        if not 0 < data.held_out < data.identities:
            raise ValueError(
                f"config.data.held_out is {data.held_out} of {data.identities} identities: hold out at least one for "
                "the scores, and leave at least one to train on."
            )
