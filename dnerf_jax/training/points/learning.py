"""Training a network for points on labelled clouds: those of a dataset, of a scanner or a world, or of several."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct

from dnerf_jax.io import files, networks
from dnerf_jax.models import point_segmenters
from dnerf_jax.models.model import fingerprint
from dnerf_jax.models.point_segmenters import PointSegmenter, PointSegmenterConfig
from dnerf_jax.networks.pointnet import PointNet
from dnerf_jax.ops import losses, metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.precision import einsum
from dnerf_jax.training import logs, runs
from dnerf_jax.training.points import clouds
from dnerf_jax.training.points.clouds import Clouds
from dnerf_jax.training.points.plan import Augmentation, Settings
from dnerf_jax.training.segmentation import reporting, scores
from dnerf_jax.training.segmentation.batches import numbers
from dnerf_jax.training.segmentation.learning import MODEL, State, create_state, optimizer, result

SCORED = 16  # clouds that are scored together


@struct.dataclass
class Batch:
    """Clouds (B, P, 3) float32, and their labels (B, P) uint8, 255 = ignore."""

    points: Any
    labels: Any


def learn(settings: Settings, data: str, workdir: Path) -> PointSegmenter:
    """Trains a network on a dataset's clouds or a folder of some, writes it to workdir/model, scores and returns it.

    A run that is there is continued, and one that is finished only scored, on the clouds that are named now.

    Raises ValueError: clouds and settings do not fit each other, or workdir holds another run.
    """
    names = [data, *filter(None, [settings.also])]
    given = clouds.joined([clouds.load(name, settings.points, split=settings.split) for name in names])
    tests = {
        Path(name).resolve().name: clouds.load(name, settings.points, split=settings.split) for name in settings.test
    }
    if len(tests) < len(settings.test):
        raise ValueError(f"config.test names {', '.join(settings.test)}: expected folders of different names")
    for test in tests.values():
        clouds.joined([given, test])  # raises where they have other classes
    sources = " and ".join(Path(name).name for name in names)
    segmenter = learn_from(settings, given, workdir, origin=f"trained on {sources}")
    if tests:
        found = write_scores(segmenter, tests, workdir)
        learned_from = f"{len(given):,} clouds of {sources}"
        reporting.write(found, segmenter.config.label_map, workdir, learned_from=learned_from)
    return segmenter


def learn_from(settings: Settings, given: Clouds, workdir: Path, *, origin: str) -> PointSegmenter:
    """Trains a network on clouds, or goes on with it, and writes it to workdir/model. origin: what it says of itself.

    Raises ValueError: the settings do not fit the clouds, or workdir holds another run.
    """
    classes = given.label_map.num_classes
    if settings.network.num_classes not in (0, classes):
        raise ValueError(
            f"the clouds have {classes} classes, config.network.num_classes is {settings.network.num_classes}: "
            "leave it out, or 0"
        )
    network = dataclasses.replace(settings.network, num_classes=classes)
    settings = dataclasses.replace(settings, network=network)
    inputs = {"data": fingerprint({"points": given.points, "labels": given.labels})}
    runs.remember(workdir, settings, inputs=inputs, may_change=("save_every", "test"))
    config = PointSegmenterConfig(network, settings.points, given.label_map)
    start_from = point_segmenters.init(config, jax.random.key(settings.seed))
    state = create_state(settings, start_from)
    print(f"{len(given):,} clouds; {parameter_overview.count_parameters(state.params):,} parameters to train")
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log, progress = logs.MetricLog(workdir, step=start), logs.Progress(settings.steps, start=start, every=50)
        for step in range(start + 1, settings.steps + 1):
            first = (step - 1) * settings.batch
            some = given[np.array(numbers(len(given), seed=settings.seed, start=first, count=settings.batch))]
            state, report = train_step(settings.of_step, network, state, Batch(some.points, some.labels))
            last = step == settings.steps
            if step % 10 == 0 or last or not step % settings.save_every:
                logs.require_finite(report, step)
                log.write(step, report)
            progress.update(step, report)
            saved.save(step, state, force=last)
        log.close()
    segmenter = result(start_from, state)
    networks.save(workdir / MODEL, segmenter, info={"origin": origin, "license": "see the clouds'"}, replace=True)
    return segmenter


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_step(settings: Settings, network: Any, state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """One step on a batch, augmented by the step's own key; returns the state and the metrics before it.

    settings: compiled for `Settings.of_step`.
    """
    of_clouds, of_dropout = jax.random.split(jax.random.fold_in(jax.random.key(state.seed), state.step))
    points = point_segmenters.normalized(batch.points)
    change = functools.partial(augment, settings=settings.augmentation)
    points = jax.vmap(change)(jax.random.split(of_clouds, len(points)), points)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        variables, rngs = {"params": params, "batch_stats": state.batch_stats}, {"dropout": of_dropout}
        made, changed = PointNet(network).apply(variables, points, train=True, mutable=["batch_stats"], rngs=rngs)
        right, known = jnp.argmax(made.logits, axis=-1) == batch.labels, batch.labels != LabelMap.IGNORE
        loss, apart = losses.cross_entropy(made.logits, batch.labels), losses.orthogonality(made.transform)
        accuracy = jnp.sum(right) / jnp.maximum(jnp.sum(known), 1)
        report = {"loss": loss, "orthogonality": apart, "accuracy": accuracy}
        return loss + settings.orthogonality * apart, (changed["batch_stats"], report)

    grads, (batch_stats, report) = jax.grad(loss_of, has_aux=True)(state.params)
    updates, moments = optimizer(settings).update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, batch_stats, moments, state.step + 1, state.seed), report


def augment(key: jax.Array, points: jax.Array, *, settings: Augmentation) -> jax.Array:
    """A cloud (P, 3) turned about y, scaled, and its points moved a little."""
    of_turn, of_scale, of_points = jax.random.split(key, 3)
    angle = jnp.radians(settings.turn) * jax.random.uniform(of_turn, minval=-1.0, maxval=1.0)
    scale = jax.random.uniform(of_scale, minval=settings.smallest, maxval=settings.largest)
    cos, sin, zero, one = jnp.cos(angle), jnp.sin(angle), jnp.zeros(()), jnp.ones(())
    turned = einsum("pc,dc->pd", points, jnp.array([[cos, zero, sin], [zero, one, zero], [-sin, zero, cos]]))
    return scale * turned + settings.jitter * jax.random.normal(of_points, points.shape)


def score(segmenter: PointSegmenter, test: Clouds) -> dict[str, Any]:
    """What `metrics.scores` has, "clouds", and "confusion": rows are labels, columns predictions, in points."""
    counts = np.zeros((test.label_map.num_classes,) * 2, np.int64)
    for start in range(0, len(test), SCORED):
        some = test[slice(start, start + SCORED)]
        # The last few are filled up, so that there is one program.
        padded = np.resize(some.points, (SCORED, *some.points.shape[1:]))
        made = np.asarray(point_segmenters.predict(segmenter, padded))[: len(some)]
        counts += np.asarray(metrics.confusion(some.labels, made, len(counts)), np.int64)
    return metrics.scores(counts, test.label_map.names) | {"clouds": len(test), "confusion": counts.tolist()}


def write_scores(segmenter: PointSegmenter, tests: Mapping[str, Clouds], folder: Path) -> dict[str, dict[str, Any]]:
    """Scores on all clouds, by name; writes scores.json into a folder, and prints what it says."""
    found = {name: score(segmenter, test) for name, test in tests.items()}
    files.write_json(folder / scores.SCORES, found)
    for name, of_clouds in found.items():
        scores.tell(name, of_clouds, "clouds")
    return found
