"""How well scenes are found, where the truth is known: the protocol of the paper's ablations (section 5.3), exactly.

Four kinds of cases, each inverted from its image, or mask, alone (for the video, from its frames and cameras):

    own     views of the generator's own latents: what is sought is there to be found
    true    the world's renders of held-out heads, which the generator only comes near to
    video   frames of one held-out head with known cameras
    mask    the masks of held-out heads: one mask has many scenes, so what is scored is the mask alone

After every stage: PSNR of the input views, mIoU and accuracy of their labels against the true ones, the error of the
pose, and the labels of views that no stage saw, `UNSEEN` degrees from frontal, against the true scene's own. For `true`
also with the known latent, which nothing found by inversion need reach.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import encoders as encoder_files
from dnerf_jax.io import files, loss_networks, packs
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import Model
from dnerf_jax.models.perception import Perception
from dnerf_jax.ops import images, metrics, orbiting
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.training import frozen
from dnerf_jax.training.inversion import stages
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Target
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.subject import Subject
from dnerf_jax.worlds import heads, orbits, views

UNSEEN = (-25.0, 0.0, 25.0)  # degrees of yaw
YAW, PITCH = 30.0, 10.0  # degrees within which own views are seen
BALANCE = 0.2  # small classes of a mask count more, see `plan.Settings`
FRAMES = 7  # of the video
KINDS = ("own", "true", "video", "mask")
FILES = ("inversion.json", *(f"{kind}.jsonl" for kind in KINDS))
# What is in a generator's own views is found in z; photos need more, and masks what the branch makes of them.
STAGES = {
    "own": ("z",),
    "true": ("z", "w", "w+", "tune"),
    "video": ("z", "w", "w+", "tune"),
    "mask": ("z", "w", "w+"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What is inverted, and the truth: masks (V, R, R) of the input views, their cameras (V,), those of unseen views.

    known: the latent that the generator was fitted to the true scene with, z (z_dim,); given: the cameras are.
    """

    name: str
    target: Target
    masks: np.ndarray
    camera: Camera
    unseen: np.ndarray
    known: jax.Array
    given: bool = False


def cases(kind: str, model: Model, numbers: Iterable[int]) -> Iterable[Case]:
    """The cases of a kind, by number; `true`, `video` and `mask` render the heads world (extra `worlds`)."""
    if kind not in KINDS:
        raise ValueError(f"there are no cases {kind!r}, expected some of {KINDS}")
    if model.semantic is None or model.label_map is None:
        raise ValueError("this checkpoint has no semantic branch, whose labels are scored: train one first")
    if kind == "own":
        return (_own(model, number) for number in numbers)
    if model.label_map.names != heads.LABELS.names:
        raise ValueError(f"{kind} cases are of the heads world, whose classes this checkpoint does not have")
    pack = packs.load("heads_video" if kind == "video" else "heads_test", model)
    if kind == "video":
        spread = np.linspace(0, len(pack) - 1, FRAMES).round().astype(int)
        return (_of_pack(kind, pack, spread) for _ in list(numbers)[:1])
    return (_of_pack(kind, pack, np.array([number])) for number in numbers)


def _own(model: Model, number: int) -> Case:
    of_z, of_pose = jax.random.split(jax.random.fold_in(jax.random.key(21), number))
    z = jax.random.normal(of_z, (model.generator.config.z_dim,), jnp.float32)
    limits = jnp.radians(jnp.array([YAW, PITCH], jnp.float32))
    pose = jax.random.uniform(of_pose, (1, 2), jnp.float32, minval=-1.0, maxval=1.0) * limits
    subject = Subject(z, None, subjects.default_orbit(model, pose[:, 0], pose[:, 1]))
    (view,) = subjects.views_of(model, subject)
    size = view.image.shape[-2]
    target = Target(view.image[None], None, jnp.ones((1, size, size), jnp.float32))
    seen = np.asarray(view.mask)[None]
    return Case(f"own {number}", target, seen, subjects.camera_of(subject), _labels(model, subject), z)


def _of_pack(kind: str, pack: packs.Annotations, chosen: np.ndarray) -> Case:
    size = pack.masks.shape[-1]
    z, masks = pack.z[chosen[0]], pack.masks[chosen]
    true = views.render(heads, z, [orbits.orbit(yaw, 0.0) for yaw in UNSEEN], size)
    target = target_of(pack[chosen], by_mask=kind == "mask")
    name = f"{kind} {chosen[0]}" if kind != "video" else f"video of {len(chosen)} frames"
    return Case(name, target, masks, pack.camera[chosen], true.mask, jnp.asarray(z), given=kind == "video")


def target_of(pack: packs.Annotations, *, by_mask: bool = False) -> Target:
    """What is inverted of a pack of views of one scene: their pictures alone, or their masks alone."""
    weights = jnp.ones(pack.masks.shape, jnp.float32)
    if not by_mask:
        return Target(jnp.asarray(images.from_uint8(pack.images)), None, weights)
    classes = frozen.class_weights(pack.masks, pack.label_map.num_classes, BALANCE)
    return Target(None, jnp.asarray(pack.masks), weights, classes)


def score(
    settings: Settings,
    model: Model,
    case: Case,
    *,
    encoder: TrainedEncoder | None = None,
    network: Perception | None = None,
) -> list[dict[str, Any]]:
    """One row for every stage: its name, its scores, and the seconds since the inversion began."""
    true = orbiting.of_camera(case.camera, pivot=model.generator.config.rendering.avg_camera_pivot)
    if case.given:
        settings = dataclasses.replace(settings, free=())
    labelled = case.target.mask is not None
    found = stages.run(
        settings,
        model if labelled else model.replace(semantic=None),
        case.target,
        encoder=encoder,
        known=true if case.given else None,
        network=network,
    )
    rows, seconds, last = [], 0.0, found[0].subject
    for outcome in found:
        seconds += outcome.seconds
        last = outcome.subject if outcome.kept else last
        rows.append({"stage": outcome.stage, **_scores(model, case, last), "seconds": seconds})
    rows.append({"stage": "known latent", **_scores(model, case, Subject(case.known, None, true)), "seconds": 0.0})
    return rows


def _scores(model: Model, case: Case, subject: Subject) -> dict[str, float]:
    """PSNR in dB, mIoU and accuracy of input and unseen views, and the mean error of the pose in degrees."""
    seen = subjects.views_of(model, subject)
    made = {}
    if case.target.image is not None:
        pairs = zip(seen, case.target.image, strict=True)
        made["psnr"] = float(np.mean([metrics.psnr(jnp.clip(a.image, -1, 1), jnp.clip(b, -1, 1)) for a, b in pairs]))
    for name, masks, true in (
        ("seen", np.stack([np.asarray(view.mask) for view in seen]), case.masks),
        ("unseen", _labels(model, subject), case.unseen),
    ):
        miou, accuracy = _agreement(model, masks, true)
        made |= {f"miou_{name}": miou, f"accuracy_{name}": accuracy}
    off = orbiting.angles_between(case.camera, subjects.camera_of(subject))
    return made | {part: float(jnp.mean(jnp.abs(getattr(off, part)))) for part in ("yaw", "pitch")}


def _agreement(model: Model, masks: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Mean over the views of mIoU, over the classes that are in either mask, and of accuracy."""
    names, found = model.label_map.names, []  # type: ignore[union-attr]
    for mask, wanted in zip(masks, true, strict=True):
        counts = np.asarray(metrics.confusion(wanted, mask, len(names)), np.int64)
        scored = metrics.scores(counts, names)
        found.append((scored["miou"], scored["accuracy"]))
    miou, accuracy = np.mean(found, axis=0)
    return float(miou), float(accuracy)


def _labels(model: Model, subject: Subject) -> np.ndarray:
    """The branch's masks (3, R, R) of the unseen views."""
    level = subjects.default_orbit(model, np.radians(UNSEEN).astype(np.float32))
    return np.stack([np.asarray(view.mask) for view in subjects.views_of(model, subject.replace(orbit=level))])


def run(
    settings: Settings,
    model: Model,
    kind: str,
    numbers: Sequence[int],
    file: Path,
    *,
    encoder: TrainedEncoder | None = None,
    network: Perception | None = None,
) -> list[dict[str, Any]]:
    """The rows of these cases, each also a line of `file` as soon as it is known; cases that are there are not run."""
    rows = [files.parse_json(line) for line in files.read_text(file).splitlines()] if file.exists() else []
    done = {row["case"] for row in rows}
    for case in cases(kind, model, [n for n in numbers if kind == "video" or f"{kind} {n}" not in done]):
        if case.name in done:
            continue
        rows += [{"case": case.name, **row} for row in score(settings, model, case, encoder=encoder, network=network)]
        files.write_text(file, "".join(files.to_json(row, indent=None) for row in rows))
        last = [row for row in rows if row["case"] == case.name][-2]
        shown = "  ".join(f"{name} {value:.3g}" for name, value in last.items() if isinstance(value, float))
        print(f"{case.name}  {last['stage']}  {shown}", flush=True)
    return rows


def parse(text: str) -> dict[str, int]:
    """Counts of cases by kind, of "own=10,true=5". Raises ValueError: another kind, or no count."""
    counts = {}
    for part in text.split(","):
        kind, _, count = part.strip().partition("=")
        if kind not in KINDS or not count.isdecimal() or not int(count):
            raise ValueError(
                f"--cases is {text!r}, expected counts, from 1, of some of {', '.join(KINDS)}: own=10,true=5"
            )
        counts[kind] = int(count)
    return counts


def evaluate(settings: Settings, model: Model, counts: Mapping[str, int], folder: Path, *, checkpoint: str) -> None:
    """The medians of so many cases of each kind, which are also written to `folder`, each case as it is done.

    The stages are those of STAGES, whatever the settings say. checkpoint: the model's, for the encoder beside it.
    """
    found = encoder_files.find(model.fingerprint, checkpoint)
    network = loss_networks.load_perception()
    result = {}
    for kind, count in counts.items():
        own = dataclasses.replace(settings, stages=STAGES[kind])
        rows = run(own, model, kind, range(count), folder / f"{kind}.jsonl", encoder=found, network=network)
        result[kind] = summary(rows)
        for stage, scores in result[kind].items():
            shown = "  ".join(f"{name} {value:.3g}" for name, value in scores.items())
            print(f"{kind:6} {stage:12} {shown}", flush=True)
    files.write_json(folder / FILES[0], result, indent=2)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians over the cases of every stage, in the stages' order, and how many cases there are."""
    found: dict[str, dict[str, float]] = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row for row in rows if row["stage"] == stage]
        names = [name for name, value in own[0].items() if isinstance(value, float | int)]
        found[stage] = {name: float(np.median([row[name] for row in own])) for name in names} | {"cases": len(own)}
    return found
