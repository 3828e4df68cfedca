"""Steps per second and memory of what is trained: python -m benchmarks.training [--json FILE]

The three loops of the embedded heads, as their configurations say: the semantic branch (configs/heads.py), the backbone
(configs/heads_backbone_cpu.py, at each resolution of its planes, on random rays) and inversion (configs/invert.py).
"""


import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras
from dnerf_jax.training import branch, fitting, inversion, process
from dnerf_jax.training.batches import RayBatch

COLUMNS = {
    "loop": "loop",
    "median_s": "step, s",
    "min_s": "least",
    "max_s": "most",
    "first_call_s": "first call",
    "steps_per_s": "steps / s",
    "peak_mib": "memory added, MiB",
}


def main(checkpoint: str = "heads", repeats: int = 5, json: str = ""):
    """Times training steps.

    checkpoint: the generator whose branch is trained, and which is inverted
    repeats: timed steps of each loop
    json: file for the numbers
    """
    process.prepare()
    model = _load(checkpoint)
    steps = semantic_step(model) | backbone_steps() | inversion_step(model)
    rows = []
    for name, step in steps.items():
        rows.append({"loop": name} | measure.take_turns({"step": step}, repeats)["step"])
        rows[-1] |= {"steps_per_s": 1 / rows[-1]["median_s"], "peak_mib": measure.peak_mib(step)}
        print(f"{name}: {rows[-1]['median_s']:.3f} s", flush=True)
    return measure.report("benchmarks.training", {"checkpoint": checkpoint, "repeats": repeats}, rows, COLUMNS, json)


def semantic_step(model):
    """A step of the branch, by name; each continues where the last one stopped."""
    run = cli.as_dataclass(cli.load_config("heads"), branch.Settings)
    pack = packs.load(run.annotations, model)
    frozen = branch.freeze(run, model, pack[: 2 * run.views_per_step])
    return {"semantic": _continued(lambda state: branch.train_step(run, model.config, frozen, state),
                                   branch.create_state(run, model.config))}  # fmt: skip


def backbone_steps():
    """A step of the backbone at every resolution of its planes, by name."""
    run = cli.as_dataclass(cli.load_config("heads_backbone_cpu"), fitting.Settings)
    variables = fitting.initial_variables(run)
    batch = random_rays(run)
    steps = {}
    for at in (1, *(1 + step for step in run.refine_at)):
        # A copy, because a step is donated its state.
        state = fitting.create_state(run, jax.tree.map(jnp.copy, variables["params"]))
        planes = run.plane_resolution(at)
        step = lambda state, planes=planes: fitting.ray_step(run, planes, False, variables["buffers"], state, batch)  # noqa: E731
        steps[f"backbone, planes of {planes}"] = _continued(step, state)
    return steps


def random_rays(run):
    """A batch of rays towards the middle; what they show is noise, which costs as much as heads."""
    draws, shape = np.random.default_rng(0), (run.identities_per_step, run.rays_per_identity)
    camera = scenes.default_camera(run.generator, yaw=np.zeros(shape[0], np.float32))
    rays = jax.tree.map(lambda x: x.reshape(shape[0], -1, 3)[:, : shape[1]], cameras.rays(camera, 64))
    uniform = lambda *more: draws.uniform(size=shape + more).astype(np.float32)  # noqa: E731
    z = draws.standard_normal((shape[0], run.generator.z_dim)).astype(np.float32)
    return RayBatch(z, rays, uniform(3), uniform(), 2.7 + 0 * uniform(), 2.7 + 0 * uniform())


def inversion_step(model):
    """A step of inverting a rendering of the model's own."""
    run = cli.as_dataclass(cli.load_config("invert"), inversion.Settings)
    found = inversion.draw(run, model.config, 0)
    size = run.rendering_resolution
    target = {"image": np.zeros((size, size, 3), np.float32), "mask": None}

    def step(state):
        *state, loss = inversion.step(run, model, target, *state)
        return state, loss

    return {"inversion": _continued(step, [found, inversion.optimizer(run).init(found)])}


def _continued(step, state):
    """Calls step(state) -> state, report with the state that it returned last: steps may be donated their state."""
    kept = [state]

    def call():
        kept[0], report = step(kept[0])
        return kept[0], report

    return call


_load = checkpoints.load  # the door has a parameter of this module's name


if __name__ == "__main__":
    cli.door(main)
