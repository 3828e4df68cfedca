"""Steps per second and memory of what is trained: python -m benchmarks.training [--json FILE]

The loops of the embedded heads, as their configurations say: the semantic branch (configs/heads.py) and the backbone
(configs/heads_backbone_cpu.py, at each resolution of its planes, on random rays). Inversion has a command of its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import branch, frozen, process
from dnerf_jax.training.pretraining import plan, stages
from dnerf_jax.training.pretraining.batches import RayBatch

COLUMNS = {
    "loop": "loop",
    "median_s": "step, s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "steps_per_s": "steps / s",
    "peak_mib": "memory added, MiB",
}


def main(checkpoint: str = "heads", repeats: Count = 5, json: str = "") -> dict[str, Any]:
    """Times training steps.

    checkpoint: the generator whose branch is trained
    repeats: timed steps of each loop
    json: file for the numbers
    """
    process.prepare()
    model = checkpoints.load(checkpoint)
    steps = semantic_step(model) | backbone_steps()
    rows = []
    for name, step in steps.items():
        rows.append({"loop": name} | measure.take_turns({"step": step}, repeats)["step"])
        rows[-1] |= {"steps_per_s": 1 / rows[-1]["median_s"], "peak_mib": measure.peak_mib(step)}
        print(f"{name}: {rows[-1]['median_s']:.3f} s", flush=True)
    return measure.report("benchmarks.training", {"checkpoint": checkpoint, "repeats": repeats}, rows, COLUMNS, json)


def semantic_step(model: Model) -> dict[str, Callable[[], Any]]:
    """A step of the branch, by name; each continues where the last one stopped."""
    settings, config = cli.load_settings("heads", branch.Settings), model.generator.config
    pack = packs.load(settings.annotations, model)[: 2 * settings.views_per_step]
    settings = branch.for_pack(settings, pack)
    known = frozen.freeze(settings.semantic, model, pack, class_balance=settings.class_balance)

    def step(state: branch.State) -> tuple[branch.State, Any]:
        return branch.train_step(settings.of_step, config, known, state)

    return {"semantic": _continued(step, branch.create_state(settings, config))}


def backbone_steps() -> dict[str, Callable[[], Any]]:
    """A step of the backbone at every resolution of its planes, by name."""
    settings = cli.load_settings("heads_backbone_cpu", plan.Settings)
    variables, batch = stages.initial_variables(settings), random_rays(settings)
    steps, fixed = {}, stages.fixed_variables(variables)
    for at in (1, *(1 + step for step in settings.refine_at)):
        planes = settings.plane_resolution(at)

        def step(state: stages.State, planes: int = planes) -> tuple[stages.State, Any]:
            key = jax.random.key(0)
            return stages.ray_step(settings.of_step, planes, False, fixed, state, batch, key)

        # A copy, because a step is donated its state.
        state = stages.create_state(settings, jax.tree.map(jnp.copy, variables["params"]))
        steps[f"backbone, planes of {planes}"] = _continued(step, state)
    return steps


def random_rays(settings: plan.Settings) -> RayBatch:
    """A batch of rays towards the middle; what they show is noise, which costs as much as heads."""
    rng, shape = np.random.default_rng(0), (settings.identities_per_step, settings.rays_per_identity)
    camera = scenes.default_camera(settings.generator, yaw=np.zeros(shape[0], np.float32))
    rays = jax.tree.map(lambda x: x.reshape(shape[0], -1, 3)[:, : shape[1]], cameras.rays(camera, 64))
    z = rng.standard_normal((shape[0], settings.generator.z_dim)).astype(np.float32)
    rgb, alpha = (rng.uniform(size=size).astype(np.float32) for size in ((*shape, 3), shape))
    distance = np.full(shape, 2.7, np.float32)
    return RayBatch(z, rays, rgb, alpha, distance, guide=distance)


def _continued(step: Callable[[Any], tuple[Any, Any]], state: Any) -> Callable[[], tuple[Any, Any]]:
    """Calls step(state) -> state, report with the state that it returned last: steps are donated their state."""
    kept = [state]

    def call() -> tuple[Any, Any]:
        kept[0], report = step(kept[0])
        return kept[0], report

    return call


if __name__ == "__main__":
    cli.door(main)
