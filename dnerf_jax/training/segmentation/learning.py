"""Training a segmentation network on a dataset that the factory made, on labelled views alone, or on both."""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct, traverse_util

from dnerf_jax.factory import description, loading
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.io import files, label_folders, networks, packs, picture_folders
from dnerf_jax.io.packs import Annotations
from dnerf_jax.io.picture_folders import Pictures
from dnerf_jax.models import segmenters
from dnerf_jax.models.classifiers import Classifier
from dnerf_jax.models.model import fingerprint
from dnerf_jax.models.segmenters import Segmenter, SegmenterConfig
from dnerf_jax.networks.deeplab import LAST, DeepLab
from dnerf_jax.ops import losses
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some
from dnerf_jax.training import logs, runs
from dnerf_jax.training.segmentation import augmentation, batches, reporting, scores
from dnerf_jax.training.segmentation.batches import Batch
from dnerf_jax.training.segmentation.plan import Settings

MODEL = "model"  # the folder of a run's result
SCORED = 24  # views of the first pack that are scored during a run
SAMPLED = 16  # views of a dataset whose confidence is looked at before
_POWER = 0.9  # of the decay of the learning rate (DeepLab's "poly")


@struct.dataclass
class State:
    """What a run needs to go on. The seed is a number like the others, so that all seeds share one compiled step."""

    params: Any
    batch_stats: Any
    optimizer: optax.OptState
    step: jax.Array
    seed: jax.Array


def learn(settings: Settings, data: str, workdir: Path) -> Segmenter:
    """Trains a network on what is `opened`, writes it to workdir/model, scores it, and returns it.

    A run that is there is continued, and one that is finished only scored, on the packs that are named now. Scores,
    pictures and a page of them, report.html, lie beside the network.

    Raises ValueError: dataset, packs and settings do not fit each other, workdir holds another run, or a shard turns
    out to be damaged when its turn has come.
    """
    views = opened(data, settings.split)
    if settings.confident:
        views = with_confidence(views, data)
    label_map = views.label_map
    real = packs.load(settings.real) if settings.real else None
    tests = {Path(name).resolve().name: packs.load(name) for name in settings.test}
    if len(tests) < len(settings.test):
        raise ValueError(f"config.test names {', '.join(settings.test)}: expected folders of different names")
    for pack in [*tests.values(), *([] if real is None else [real])]:
        scores.require_same_labels(label_map, data, pack)
    settings = fitted(settings, label_map, data)
    start_from = starting(settings, SegmenterConfig(settings.network, settings.resolution, label_map))
    inputs = {"data": content(views), "real": "" if real is None else content(real)}
    inputs["initial"] = fingerprint(start_from.params) if settings.initial else ""
    runs.remember(workdir, settings, inputs=inputs, may_change=("save_every", "score_every", "test"))
    state = create_state(settings, start_from)
    learned = state.params if settings.trained == "all" else state.params[LAST]
    of_real = (
        f", and {settings.real_views} of a batch of {settings.batch} from {settings.real}" if settings.real else ""
    )
    print(f"{len(views):,} views{of_real}; {parameter_overview.count_parameters(learned):,} parameters to train")
    if isinstance(views, Dataset) and settings.confident:
        share = counted(views, settings.confident)
        print(f"{share:.1%} of the pixels of {min(SAMPLED, len(views))} views are as confident as {settings.confident}")
    sources = [batches.of(views, settings.batch - settings.real_views, confident=settings.confident)]
    sources += [] if real is None else [batches.of(real, settings.real_views)]
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        if start == settings.steps:
            print(f"this run has done its {settings.steps} steps already", flush=True)
        log, progress = logs.MetricLog(workdir, step=start), logs.Progress(settings.steps, start=start)
        seen = batches.batches(
            sources, seed=settings.seed, resolution=settings.resolution, start=start, stop=settings.steps
        )
        for step, batch in enumerate(seen, start=start + 1):
            state, report = train_step(settings.of_step, start_from.config, state, batch)
            last = step == settings.steps
            if step % 10 == 0 or last or not step % settings.save_every or not step % settings.score_every:
                logs.require_finite(report, step)
                if tests and not last and step % settings.score_every == 0:
                    report |= _score(result(start_from, state), tests)
                log.write(step, report)
            progress.update(step, report)
            saved.save(step, state, force=last)
        log.close()
    segmenter = result(start_from, state)
    info = {"origin": f"trained on {Path(data).name}", "license": "see the dataset's card"}
    networks.save(workdir / MODEL, segmenter, info=info, replace=True)
    if tests:
        found = scores.write(segmenter, tests, workdir)
        also = f" and {len(real)} of {settings.real}" if real else ""
        learned_from = f"{len(views):,} views of {Path(data).name}{also}"
        reporting.write(found, segmenter.config.label_map, workdir, learned_from=learned_from)
    return segmenter


def opened(data: str, split: str) -> Dataset | Annotations | Pictures:
    """The images and masks of a dataset's split, of a labelled pack, or of a folder of pictures.

    data: a folder of any of these, or the name of an embedded pack

    Raises ValueError: it is none of them, or they are damaged.
    """
    if (files.located(data, label_folders.NAME) / label_folders.NAME).is_file():
        return packs.load(data)
    if Path(data).is_dir() and not (Path(data) / description.NAME).exists():
        if picture_folders.is_one(data):
            return picture_folders.load(data)
        raise ValueError(
            f"{data} is neither a dataset (it has no {description.NAME}), nor a labelled pack (no "
            f"{label_folders.NAME}), nor a folder of pictures (no {picture_folders.IMAGES}/ and "
            f"{picture_folders.MASKS}/): name one of these"
        )
    return loading.load(data, split=split, only=("image", "mask"))


def with_confidence(views: Dataset | Annotations | Pictures, data: str) -> Dataset:
    """The same views, and the confidence of their labels. Raises ValueError: it is not known."""
    if not isinstance(views, Dataset) or "confidence" not in views.plan.view_modalities:
        raise ValueError(
            f"{data} has no confidence, which config.confident asks for: expected a dataset of python -m "
            "dnerf_jax.generate with confidence in --config.modalities. Name one, or leave config.confident at 0"
        )
    return loading.load(views.path, split=views.split, only=("image", "mask", "confidence"))


def counted(views: Dataset, confident: float) -> float:
    """The share of the pixels of SAMPLED views, evenly spread, that are so confident. Raises ValueError: none is."""
    numbers = np.linspace(0, len(views) - 1, min(SAMPLED, len(views))).astype(int)
    share = float(np.mean([np.mean(views[int(number)]["confidence"] >= confident) for number in numbers]))
    if not share:
        raise ValueError(
            f"config.confident is {confident}, and no pixel of {len(numbers)} views has as much: take less"
        )
    return share


def fitted(settings: Settings, label_map: LabelMap | None, data: str) -> Settings:
    """The settings with the number of classes of the data. Raises ValueError: they, or flips, do not fit it."""
    classes = label_map.num_classes if label_map else 0
    if settings.trained == "last" and not settings.initial:
        raise ValueError("config.trained is 'last' and config.initial is empty: name the network whose layers stay")
    if settings.network.num_classes not in (0, classes):
        raise ValueError(
            f"{data} has {classes} classes, config.network.num_classes is {settings.network.num_classes}: "
            "leave it out, or 0"
        )
    _mirrored(label_map, settings.augmentation.flip)
    return dataclasses.replace(settings, network=dataclasses.replace(settings.network, num_classes=classes))


def starting(settings: Settings, config: SegmenterConfig) -> Segmenter:
    """The network before the first step: random, or as much as fits of the one that it starts from.

    Raises ValueError: that one has another backbone, or another head.
    """
    if not settings.initial:
        return segmenters.init(config, jax.random.key(settings.seed))
    given = networks.load(settings.initial, "classifier", "segmenter")
    wanted, theirs = config.network.backbone, given.config.network
    theirs = theirs if isinstance(given, Classifier) else theirs.backbone
    same = dataclasses.replace(theirs, output_stride=wanted.output_stride) == wanted
    if isinstance(given, Segmenter):
        head = given.config.network
        same &= (head.width, head.pyramid) == (config.network.width, config.network.pyramid)
    if not same:
        raise ValueError(
            f"{settings.initial} is another network than config.network: {given.config.network}, expected "
            f"{config.network}. Set config.network to it (backbone, width, pyramid), or name another --config.initial"
        )
    made = segmenters.init(config, jax.random.key(settings.seed))
    flat, new = (traverse_util.flatten_dict(network.params, sep="/") for network in (made, given))
    part = "/backbone/" if isinstance(given, Classifier) else "/"
    taken = {path: new[path] for path, leaf in flat.items() if part in path and new[path].shape == leaf.shape}
    random = [path for path in flat if path not in taken and f"/{LAST}/" not in path]
    if settings.trained == "last" and random:
        raise ValueError(
            f"{settings.initial} has no weights for {some(random)}, which config.trained of 'last' leaves as they are: "
            "expected a segmentation network, or config.network.width of 0"
        )
    params = traverse_util.unflatten_dict(flat | taken, sep="/")
    own = dataclasses.replace(config, mean=given.config.mean, deviation=given.config.deviation)
    return Segmenter(own, params)


def content(views: Dataset | Annotations | Pictures) -> str:
    """16 hexadecimal digits of a dataset's plan, checkpoint, label map and split, or of a pack's images and masks.

    Of a folder of pictures see `Pictures.content`.
    """
    if isinstance(views, Pictures):
        return views.content()
    if isinstance(views, Annotations):
        return fingerprint({"images": views.images, "masks": views.masks})
    label_map = views.label_map.to_json() if views.label_map else ""
    text = files.to_json(dict(views.description.content)) + label_map
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def create_state(settings: Any, start: Any) -> State:
    """The state before the first step of a network, of images or of points."""
    params = start.params["params"]
    moments = optimizer(settings).init(params)
    seed = jnp.asarray(settings.seed, jnp.int32)
    return runs.placed(State(params, start.params.get("batch_stats", {}), moments, jnp.zeros((), jnp.int32), seed))


def result(start: Any, state: State) -> Any:
    """The network of a state."""
    averages = {"batch_stats": state.batch_stats} if state.batch_stats else {}  # a ViT has no batch norm
    return start.replace(params={"params": state.params, **averages})


def optimizer(settings: Any) -> optax.GradientTransformation:
    """The optimiser of settings, those of networks for points too; its rate rises, then falls to zero."""
    steps = max(settings.steps - settings.warmup_steps, 1)
    decay = optax.polynomial_schedule(settings.learning_rate, 0.0, _POWER, steps)
    rise = optax.linear_schedule(0.0, settings.learning_rate, settings.warmup_steps)
    rate = optax.join_schedules([rise, decay], [settings.warmup_steps]) if settings.warmup_steps else decay

    def kernels(params: Any) -> Any:
        whole = settings.trained == "all"
        return traverse_util.path_aware_map(lambda path, leaf: leaf.ndim > 1 and (whole or path[0] == LAST), params)

    if settings.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=settings.weight_decay, mask=kernels)
    return optax.chain(optax.add_decayed_weights(settings.weight_decay, kernels), optax.sgd(rate, momentum=0.9))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_step(
    settings: Settings, config: SegmenterConfig, state: State, batch: Batch
) -> tuple[State, dict[str, jax.Array]]:
    """One step on a batch, augmented by the step's own key; returns the state and the metrics before it.

    Where the last layer alone learns, all before it is as at evaluation: nothing is dropped, and averages stay.

    settings: compiled for `Settings.of_step`.
    """
    whole = settings.trained == "all"
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    of_images, of_dropout = jax.random.split(key)
    mirrored = jnp.asarray(_mirrored(config.label_map, settings.augmentation.flip))

    def one(key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        return augmentation.augment(key, settings.augmentation, image, mask, mirrored=mirrored)

    image = batch.image.astype(jnp.float32) / 127.5 - 1
    image, mask = jax.vmap(one)(jax.random.split(of_images, len(image)), image, batch.mask)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        params = {name: x if whole or name == LAST else jax.lax.stop_gradient(x) for name, x in params.items()}
        variables = {"params": params, "batch_stats": state.batch_stats}
        made, changed = DeepLab(config.network).apply(
            variables,
            segmenters.normalized(config, image),
            train=whole,
            mutable=["batch_stats"],
            rngs={"dropout": of_dropout},
        )
        right, known = jnp.argmax(made, axis=-1) == mask, mask != LabelMap.IGNORE
        loss = losses.cross_entropy(made, mask)
        report = {"loss": loss, "accuracy": jnp.sum(right) / jnp.maximum(jnp.sum(known), 1)}
        return loss, (changed.get("batch_stats", {}), report)

    grads, (batch_stats, report) = jax.grad(loss_of, has_aux=True)(state.params)
    updates, moments = optimizer(settings).update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, batch_stats, moments, state.step + 1, state.seed), report


def _mirrored(label_map: LabelMap | None, flip: float) -> np.ndarray:
    return label_map.mirrored if label_map and flip else np.arange(256, dtype=np.uint8)


def _score(segmenter: Segmenter, tests: dict[str, Annotations]) -> dict[str, float]:
    """The mIoU and accuracy of some views of the first pack, under its name."""
    name, pack = next(iter(tests.items()))
    found = scores.score(segmenter, pack, at_most=SCORED)
    print(f"{name}, {found['views']} views: mIoU {found['miou']:.4f}  accuracy {found['accuracy']:.4f}", flush=True)
    return {f"{name}_miou": found["miou"], f"{name}_accuracy": found["accuracy"]}
