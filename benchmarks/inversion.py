"""Seconds and memory of a step of inversion: python -m benchmarks.inversion [--checkpoint ""] [--former PATH]

The steps of configs/invert.py, on one image: on chosen rays, on the whole image with the gradient of some rays, the
tuning of the generator, and an iteration of Gauss-Newton. PATH is a checkout of commit 9cfbdff, whose step, on a whole
rendering of 32 x 32 rays, is then timed in turn with them, in a process of its own:

    git worktree add PATH 9cfbdff

Steps are scanned, STEPS at once, and a call's time and not its memory is divided by that. An iteration of Gauss-Newton
takes a gradient for each number of the latent: minutes at EG3D's size on a CPU, which --steps leaves out.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import factory, measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints, loss_networks
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process
from dnerf_jax.training.inversion import loop, newton, objectives, stages
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Seen, Target
from dnerf_jax.training.inversion.plan import Settings, Stage
from dnerf_jax.training.inversion.subject import Subject

STEPS = 4  # that are scanned in a call
NAMES = ("rays", "whole", "tuning", "newton")
COLUMNS = {
    "step": "step",
    "median_s": "s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "peak_mib": "memory added, MiB",
}
# What the former version's process runs: a line for each line that it gets, the peak of memory where that is asked.
FORMER = """
import sys, jax
from benchmarks import factory, measure, training
from dnerf_jax.io import checkpoints
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
training.process.prepare()
name = sys.argv[1]
model = checkpoints.load(name) if name else Model(factory.random_generator(GeneratorConfig()))
(step,) = training.inversion_step(model).values()
for line in sys.stdin:
    answer = measure.peak_mib(step) if line.strip() == "peak" else jax.block_until_ready(step()) and None
    print("answer", answer, flush=True)
"""


def main(
    checkpoint: str = "heads", former: str = "", steps: str = ",".join(NAMES), repeats: Count = 5, json: str = ""
) -> dict[str, Any]:
    """Times steps of inversion.

    checkpoint: folder of a generator, or an embedded name; "" is EG3D's size with random weights
    former: checkout of commit 9cfbdff to compare with
    steps: which of rays, whole, tuning, newton, separated by commas
    repeats: timed calls of each
    json: file for the numbers
    """
    chosen = steps.split(",")
    if set(chosen) - set(NAMES):
        raise ValueError(f"--steps is {steps!r}: expected some of {','.join(NAMES)}.")
    if former and not (Path(former) / "dnerf_jax" / "training" / "inversion.py").exists():
        raise ValueError(
            f"--former is {former!r}: expected a checkout of 9cfbdff, with dnerf_jax/training/inversion.py."
        )
    process.prepare()
    model = checkpoints.load(checkpoint) if checkpoint else Model(factory.random_generator(GeneratorConfig()))
    calls = our_steps(cli.load_settings("invert", Settings), model, chosen)
    before = Former(former, checkpoint) if former else None
    try:
        timed = measure.take_turns(calls | ({"former": before.step} if before else {}), repeats)
        rows: list[dict[str, Any]] = [{"step": name} | _of_one(name, times) for name, times in timed.items()]
        for row in rows:
            row["peak_mib"] = (
                before.peak_mib() if before and row["step"] == "former" else measure.peak_mib(calls[row["step"]])
            )
    finally:
        if before:
            before.close()
    sizes = {"checkpoint": checkpoint or "random 512-128", "repeats": repeats}
    return measure.report("benchmarks.inversion", sizes, rows, COLUMNS, json)


def _of_one(name: str, times: dict[str, float]) -> dict[str, float]:
    """The times of one step: of a call, where it is not of several."""
    count = 1 if name in ("newton", "former") else STEPS
    return {key: value / (1 if key == "first_call_s" else count) for key, value in times.items()}


def our_steps(settings: Settings, model: Model, chosen: list[str]) -> dict[str, Callable[[], Any]]:
    """Calls of the chosen steps, by name; each begins at the same place."""
    config, rng = model.generator.config, np.random.default_rng(0)
    model, size = model.replace(semantic=None), config.image_resolution
    image = jnp.asarray(rng.uniform(-1, 1, (1, size, size, 3)), jnp.float32)
    z = jnp.asarray(rng.standard_normal(config.z_dim), jnp.float32)
    subject = Subject(z, None, subjects.default_orbit(model, jnp.array([0.2]), jnp.array([0.1])))
    network = loss_networks.load_perception() if "tuning" in chosen else None
    seen = objectives.prepare(config, Target(image, None, jnp.ones((1, size, size))), subject, 0, network)
    whole = dataclasses.replace(settings.z, whole=True)
    stage = settings.tune
    tuned = seen.replace(subject=subjects.in_space("tune", model, subject))
    calls: dict[str, Callable[[], Any]] = {
        "rays": lambda: _scanned("z", settings.z, settings.free, model, seen, objectives.of_stage("z", settings.z)),
        "whole": lambda: _scanned("z", whole, settings.free, model, seen, objectives.of_stage("z", whole)),
        "tuning": lambda: _scanned("tune", stage, (), model, tuned, stages.tuning_loss(stage)),
        "newton": lambda: newton.refine(
            model,
            seen,
            subjects.free_part(subject, "z", settings.free),
            residuals=objectives.residuals_of(settings.z.rays),
            iterations=1,
        ),
    }
    return {name: calls[name] for name in chosen}


def _scanned(name: str, stage: Stage, free: tuple[str, ...], model: Model, seen: Seen, loss: loop.Loss) -> Any:
    """The parameters after STEPS steps of a stage."""
    start = subjects.free_part(seen.subject, subjects.LATENTS[name], free)
    optimizer = stages.optimizer(name, stage, free)
    return loop.invert(model, seen, start, loss=loss, optimizer=optimizer, steps=STEPS, steps_at_once=STEPS).params


class Former:
    """A process that takes steps of the former version, one for each call of `step`."""

    def __init__(self, checkout: str, checkpoint: str) -> None:
        command = [sys.executable, "-c", FORMER, checkpoint]
        environment = os.environ | {"PYTHONPATH": str(Path(checkout).absolute())}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._process = subprocess.Popen(command, cwd=checkout, env=environment, **pipes)

    def step(self) -> None:
        """Takes a step."""
        self._ask("step")

    def peak_mib(self) -> float | None:
        """What `measure.peak_mib` says of a step."""
        answer = self._ask("peak")
        return None if answer == "None" else float(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, what: str) -> str:
        pipes: Any = self._process
        pipes.stdin.write(what + "\n")
        for line in pipes.stdout:
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise ValueError("the former version's process ended: see above why")


if __name__ == "__main__":
    cli.door(main)
