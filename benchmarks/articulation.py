"""Bodies in poses, and the released rule in PyTorch: python -m benchmarks.articulation [--gnarf PATH] [--json FILE]

Points are carried from the posed to the canonical world beside the recorded body (1,226 faces): the samples of a view's
rays that meet its hull. PATH is a checkout of the public PyTorch GNARF, whose surface field, as it is, then carries the
same points by the same rule, in turn with ours, in a process of its own with as many threads; --python is an
interpreter that has `torch`, where ours has not. What else that module imports is stood in for.

A labelled view (image, mask, depth, points, from the latent on) is then made by a generator and by the same one with
that body in a pose. How much of a view a body fills decides what it costs: "closer" is one of three times the focal
length. Processor time is that of all threads, and less sensitive to what else a machine does.
"""

import dataclasses
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import eg3d, measure
from benchmarks.factory import random_generator
from converters import gnarf_golden
from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import articulated, scenes, semantic
from dnerf_jax.models.articulated import ArticulationConfig, Body, Pose
from dnerf_jax.models.generator import Generator, GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.ops import articulation, cameras
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process

RECORDED = Path(__file__).parents[1] / "tests" / "golden" / "gnarf_deform.json"
BONES = 24
HULL = 0.0155  # world units, a body being 0.5 of them tall: five centimetres, as GNARF has it
CLOSER = 3.0  # times the focal length

SAME = 1e-5  # world units; more than rounding, less than another face makes
COLUMNS = {
    "stage": "stage",
    "median_s": "time, s",
    "min_s": "least",
    "max_s": "most",
    "cpu_s": "processor time, s",
    "faster": "times as fast as GNARF",
    "cpu_faster": "in processor time",
    "same": "same points",
    "longer": "times the unposed view's",
    "cpu_longer": "in processor time",
    "rays": "rays that meet the body",
    "temporary_mib": "temporary MiB",
}
# What the released code's process runs: a line for each line that it gets, the processor time of carrying all points.
RELEASED = """
import os, sys, time, types
import numpy as np, torch
for name in ("smplx", "smplx.utils", "open3d", "tqdm", "tqdm.autonotebook"):
    sys.modules[name] = types.ModuleType(name)
class Bar:
    def __init__(self, **_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, _): pass
sys.modules["tqdm.autonotebook"].tqdm = Bar
sys.modules["smplx"].SMPL = sys.modules["smplx.utils"].SMPLOutput = object
from warping_utils.surface_field import SurfaceField
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.set_grad_enabled(False)
arrays = {name: torch.from_numpy(x) for name, x in np.load(sys.argv[1]).items()}
def output(name): return types.SimpleNamespace(vertices=arrays[name][None])
class Body:
    faces, v_template = arrays["faces"].numpy(), arrays["canonical"].numpy()
    def __call__(self): return output("canonical")
field = SurfaceField(Body())
for line in sys.stdin:
    start = time.process_time()
    found = field(arrays["points"], output("posed"), output("canonical"))
    spent = time.process_time() - start
    if line.strip() == "save": np.save(sys.argv[2], found.numpy())
    print("answer", spent, flush=True)
"""


def main(
    gnarf: str = "",
    python: str = sys.executable,
    checkpoint: str = "heads",
    repeats: Count = 5,
    json: str = "",
) -> dict[str, Any]:
    """Times what a body in a pose costs.

    gnarf: checkout of the public PyTorch GNARF to compare with
    python: an interpreter that has torch, for the checkout
    checkpoint: folder of a generator, or an embedded name; "" is EG3D's size with random weights
    repeats: timed calls of each
    json: file for the numbers
    """
    if gnarf and not (Path(gnarf) / "warping_utils" / "surface_field.py").exists():
        raise ValueError(
            f"--gnarf is {gnarf!r}: expected a checkout of the public GNARF, with warping_utils/surface_field.py."
        )
    process.prepare()
    plain = checkpoints.load(checkpoint) if checkpoint else Model(random_generator(GeneratorConfig()))
    if plain.semantic is None:
        plain = plain.replace(semantic=semantic.init(eg3d.SEMANTIC, plain.generator.config, jax.random.key(1)))
    recorded = gnarf_golden.load(RECORDED)
    posed = with_body(plain, recorded)
    rows = carrying(posed, gnarf, python, repeats) + viewing(plain, posed, repeats)
    sizes = {"checkpoint": checkpoint or "random 512-128", "faces": len(recorded.arrays["faces"]), "repeats": repeats}
    return measure.report("benchmarks.articulation", sizes, rows, COLUMNS, json)


def with_body(model: Model, recorded: gnarf_golden.Deformation) -> Model:
    """The model in the recorded body, in its canonical pose; BONES joints lie as far apart in it as they can."""
    vertices, faces = recorded.canonical, recorded.arrays["faces"]
    neighbours = articulation.incident(faces, len(vertices))
    joints = [int(np.argmin(np.linalg.norm(vertices - vertices.mean(0), axis=-1)))]
    for _ in range(BONES - 1):
        joints.append(int(np.linalg.norm(vertices[:, None] - vertices[joints], axis=-1).min(axis=-1).argmax()))
    apart = np.linalg.norm(vertices[:, None] - vertices[joints], axis=-1)
    weights = np.exp(-apart / 0.02)
    template = {
        "vertices": vertices,
        "faces": faces,
        "joints": vertices[joints],
        "weights": np.float32(weights / weights.sum(axis=-1, keepdims=True)),
        "canonical": np.broadcast_to(np.eye(3, dtype=np.float32), (BONES, 3, 3)),
        "neighbours": neighbours,
    }
    moves = ArticulationConfig(
        bones=tuple(f"bone{number}" for number in range(BONES)),
        parents=(-1, *[0] * (BONES - 1)),
        num_vertices=len(vertices),
        num_faces=len(faces),
        hull=HULL,
        shell=HULL,
    )
    config = dataclasses.replace(model.generator.config, articulation=moves)
    variables = {**model.generator.variables, "template": jax.tree.map(jnp.asarray, template)}
    return model.replace(generator=Generator(config, variables))


def bent() -> Pose:
    """A pose: every bone but the root a few degrees about an axis of its own."""
    vectors = np.random.default_rng(0).normal(0, 0.1, (BONES, 3)) * (np.arange(BONES)[:, None] > 0)
    angles = np.maximum(np.linalg.norm(vectors, axis=-1)[:, None, None], 1e-9)
    across = np.cross(np.eye(3), vectors[:, None]) * -1
    turns = np.eye(3) + np.sin(angles) / angles * across + (1 - np.cos(angles)) / angles**2 * across @ across
    return Pose(jnp.asarray(turns, jnp.float32), jnp.zeros(3), jnp.ones(()), jnp.zeros(0))


def samples_of(body: Body, camera: Camera, rays: int, samples: int) -> jax.Array:
    """Points (N, 3) that lie evenly on those of rays x rays that meet the hull, within it."""
    made = cameras.rays(camera, rays)
    near, far, hit = jax.jit(articulated.ray_limits)(body, made)
    depths = near[..., None] + (far - near)[..., None] * (jnp.arange(samples) + 0.5) / samples
    return (made.origins[..., None, :] + depths[..., None] * made.directions[..., None, :])[hit].reshape(-1, 3)


def carrying(model: Model, gnarf: str, python: str, repeats: int) -> list[dict[str, Any]]:
    """The rows of what is done with points, rays and poses."""
    made, pose = model.generator, bent()
    config, template, camera = made.config.articulation, made.variables["template"], scenes.default_camera(model)
    side, options = made.config.neural_rendering_resolution, made.config.rendering
    body = jax.jit(lambda pose: articulated.body(config, template, pose))(pose)
    points = samples_of(body, camera, side, options.depth_resolution + options.depth_resolution_importance)
    rays = cameras.rays(camera, side)

    def by_rule(rule: articulation.Rule) -> Callable[..., jax.Array]:
        most = template["neighbours"].shape[1] if rule == "vertex" else 0
        ruled = dataclasses.replace(config, rule=rule, num_neighbours=most)
        return jax.jit(lambda body, points: articulated.to_canonical(ruled, body, points)[0])

    def moved(posed: jax.Array, points: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(by_rule("blend")(body.replace(posed=posed), points)))

    stages: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        **{f"rule {rule!r}": (by_rule(rule), (body, points)) for rule in ("vertex", "triangle", "blend")},
        "blend with gradient": (jax.jit(jax.grad(moved, argnums=(0, 1))), (body.posed, points)),
        "ray limits": (jax.jit(articulated.ray_limits), (body, rays)),
        "pose to body": (jax.jit(lambda pose: articulated.body(config, template, pose)), (pose,)),
    }
    calls = {name: functools.partial(function, *arguments) for name, (function, arguments) in stages.items()}
    other = Released(gnarf, python, body, points) if gnarf else None
    try:
        rows = timed(calls | ({"GNARF": other.carry} if other else {}), repeats)
        for row in rows[: len(stages)]:
            function, arguments = stages[row["stage"]]
            row["temporary_mib"] = measure.costs(function, *arguments)["temporary_mib"]
        if other:
            ours, theirs = rows[0], rows[-1]
            theirs["cpu_s"] = float(np.median(other.spent[-repeats:]))
            ours |= {"faster": theirs["median_s"] / ours["median_s"], "cpu_faster": theirs["cpu_s"] / ours["cpu_s"]}
            off = np.abs(other.carried() - np.asarray(calls[ours["stage"]]())).max(axis=-1)
            ours["same"] = float(np.mean(off < SAME))
    finally:
        if other:
            other.close()
    print(f"{len(points)} points of {side} x {side} rays", flush=True)
    return rows


def viewing(plain: Model, model: Model, repeats: int) -> list[dict[str, Any]]:
    """The rows of labelled views, unposed and posed."""
    z, pose = jax.random.normal(jax.random.key(2), (plain.generator.config.z_dim,)), bent()
    camera = scenes.default_camera(plain)
    closer = Camera(camera.cam2world, camera.intrinsics.at[:2, :2].multiply(CLOSER))
    rows = process.rows_at_once(plain)

    @jax.jit
    def make(model: Model, z: jax.Array, camera: Camera, pose: Pose | None) -> tuple[jax.Array, ...]:
        view = scenes.render(model, scenes.synthesize(model, z, pose=pose), camera, rows_at_once=rows)
        return view.image, view.mask, view.depth_z, view.points

    stages: dict[str, tuple[Any, ...]] = {
        "view, unposed": (plain, z, camera, None),
        "view, posed": (model, z, camera, pose),
        "view, posed, closer": (model, z, closer, pose),
    }
    found = timed({name: functools.partial(make, *arguments) for name, arguments in stages.items()}, repeats)
    config = model.generator.config
    body = articulated.body(config.articulation, model.generator.variables["template"], pose)
    for row in found:
        own = stages[row["stage"]]
        row["temporary_mib"] = measure.costs(make, *own)["temporary_mib"]
        if own[0] is model:
            hit = articulated.ray_limits(body, cameras.rays(own[2], config.neural_rendering_resolution))[2]
            row |= {"rays": float(jnp.mean(hit)), "longer": row["median_s"] / found[0]["median_s"]}
            row["cpu_longer"] = row["cpu_s"] / found[0]["cpu_s"]
    return found


def timed(functions: dict[str, Callable[[], Any]], repeats: int) -> list[dict[str, Any]]:
    """A row for each function, by name, with this process's time besides; in turn."""
    spent: dict[str, list[float]] = {name: [] for name in functions}

    def call(name: str) -> None:
        start = time.process_time()
        jax.block_until_ready(functions[name]())
        spent[name].append(time.process_time() - start)

    found = measure.take_turns({name: functools.partial(call, name) for name in functions}, repeats)
    rows = [{"stage": name, "cpu_s": float(np.median(spent[name][-repeats:]))} | found[name] for name in functions]
    for row in rows:
        print(f"{row['stage']}: {row['median_s']:.4f} s", flush=True)
    return rows


class Released:
    """A process in which the released code carries points beside a body, once for each call of `carry`.

    spent: the processor time of each.
    """

    def __init__(self, checkout: str, python: str, body: Body, points: jax.Array) -> None:
        self.spent: list[float] = []
        self._folder = tempfile.TemporaryDirectory()
        given, self._made = (str(Path(self._folder.name) / name) for name in ("given.npz", "made.npy"))
        arrays = {"posed": body.posed, "canonical": body.canonical, "faces": body.faces, "points": points}
        np.savez(given, **{name: np.asarray(x) for name, x in arrays.items()})
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        environment = os.environ | {"PYTHONPATH": str(Path(checkout).absolute())}
        self._process: Any = subprocess.Popen([python, "-c", RELEASED, given, self._made], env=environment, **pipes)

    def carry(self, what: str = "carry") -> None:
        """Carries all points. Raises ValueError: the process ended."""
        try:
            self._process.stdin.write(what + "\n")
            line = next(line for line in self._process.stdout if line.startswith("answer "))
        except (StopIteration, BrokenPipeError):
            raise ValueError(
                "the process of --gnarf ended, see above why: it needs torch, which --python NAME may have"
            ) from None
        self.spent.append(float(line.removeprefix("answer ")))

    def carried(self) -> np.ndarray:
        """The canonical points (N, 3)."""
        self.carry("save")
        return np.load(self._made)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


if __name__ == "__main__":
    cli.door(main)
