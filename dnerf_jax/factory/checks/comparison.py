"""Whether views are what their checkpoint renders: some of them again, from the provenance that is stored with them.

Identities are chosen at random and rendered in the groups that they were made in (see `render`), with all their views,
clouds and meshes. On the stack that made them every number has to be the same. Across stacks labels and pixels have to
agree within bounds: the last bit of a picture differs here and there, and a label where two classes are equally likely.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import spatial

from dnerf_jax.factory import description, plan, provenance, record, render, shards, writing
from dnerf_jax.factory.checks import merging, rerendering
from dnerf_jax.factory.checks.rerendering import Stored
from dnerf_jax.factory.checks.verification import Findings
from dnerf_jax.factory.description import Description
from dnerf_jax.factory.plan import LABELS, Plan, Shard
from dnerf_jax.factory.render import Rendered
from dnerf_jax.factory.shards import FOLDERS, VIEWS
from dnerf_jax.io import checkpoints, ply, png
from dnerf_jax.models.model import Model
from dnerf_jax.ops.messages import some
from dnerf_jax.training import process

LEAST_PSNR, LEAST_SHARE, LEAST_POINTS = 50.0, 0.999, 0.99  # across stacks, of images, of pixels and of points
# How near numbers are that agree, relative and absolute.
_NEAR = {"mask": (0.0, 0.0), "depth_z": (1e-3, 0.0), "distance": (1e-3, 0.0), "normal": (0.0, 0.02)}
_NEAR |= {"opacity": (0.0, 0.01), "confidence": (0.0, 0.01), "logits": (0.01, 0.01)}
_NOT_TOLD = ("versions", "fingerprint", provenance.LABELS_STACK)
_REMEDY = "it was changed, or another checkpoint or plan made it: delete the shard's files and make it anew"


@dataclasses.dataclass
class Compared:
    """What came of it.

    Attributes:
      views: that were rendered again.
      identical: of these.
      worst: of every modality and object the worst agreement (see `score`).
      stacks: how those that the views come from differ from this one.
    """

    views: int = 0
    identical: int = 0
    worst: dict[str, float] = dataclasses.field(default_factory=dict)
    stacks: set[str] = dataclasses.field(default_factory=set)

    def __str__(self) -> str:
        same = "all identical" if self.identical == self.views else f"{self.identical:,} identical"
        other = f" across stacks, which differ in {some(sorted(self.stacks))}" if self.stacks else ""
        parts = [f"{self.views:,} views rendered again, {same}{other}"]
        for name, value in self.worst.items():
            if value < (math.inf if name == "image" else 1):
                parts.append(f"{name} {value:.1f} dB" if name == "image" else f"{name} {100 * value:.3f} %")
        return ", ".join([parts[0], *(["at worst"] if parts[1:] else []), *parts[1:]]).replace("worst, ", "worst ")


def score(name: str, form: record.Form, stored: np.ndarray, rendered: np.ndarray) -> float:
    """How well stored numbers of a modality agree: of images the PSNR in dB, of all else the share that is near."""
    if name == "image":
        error = np.mean((stored.astype(np.float64) - rendered) ** 2)
        return math.inf if error == 0 else 10 * math.log10(255**2 / error)
    relative, absolute = _NEAR[name]
    a, b = (record.restored(form, numbers).astype(np.float64) for numbers in (stored, rendered))
    return float(np.isclose(a, b, rtol=relative, atol=absolute).mean())


def compare(
    out: Path,
    model: Model,
    findings: Findings,
    *,
    samples: int,
    seed: int = 0,
    on_group: Callable[[Compared], None] | None = None,
) -> Compared:
    """Renders identities of a sound dataset again, and adds what is not as stored to the findings.

    model: of the dataset, see `require_checkpoint`. samples: views, at least, as long as there are so many. seed: of
    their choice. on_group: called after each group.

    Raises ValueError: files cannot be read.
    """
    read, compared = description.read(out), Compared()
    comparison = _Comparison(out, read, model, findings, compared)
    comparison.description()
    for shard, start in _chosen(read.plan, samples, seed):
        comparison.group(shard, start)
        if on_group is not None:
            on_group(compared)
    return compared


def run(out: str, checkpoint: str, samples: int, seed: int) -> tuple[Compared, Findings]:
    """Compares by files; what a worker's process does."""
    process.prepare()
    findings = Findings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clouds, which were told of when they were made
        compared = compare(Path(out), checkpoints.load(checkpoint), findings, samples=samples, seed=seed)
    return compared, findings


def _chosen(made: Plan, samples: int, seed: int) -> Iterator[tuple[Shard, int]]:
    """Groups, as a shard and a place in it, of identities at random until they have so many views."""
    generator, chosen, views = np.random.default_rng(seed), set(), 0
    for identity in generator.choice(made.num_identities, min(samples, made.num_identities), replace=False).tolist():
        split = plan.split_of(made, identity)
        every = plan.range_of(made, split)
        number, place = divmod(every.index(identity), made.shard_size)
        start = place - place % made.batch
        if views < samples and (split, number, start) not in chosen:
            chosen.add((split, number, start))
            ranks = range(number * made.shard_size, min((number + 1) * made.shard_size, len(every)))
            views += len(ranks[start : start + made.batch]) * made.views_per_identity
            yield Shard(split, number, tuple(every[rank] for rank in ranks)), start


class _Comparison:
    """A dataset beside what its checkpoint makes of the same latents and cameras."""

    def __init__(self, out: Path, read: Description, model: Model, findings: Findings, compared: Compared) -> None:
        self.out, self.read, self.plan, self.model = out, read, read.plan, model
        self.findings, self.compared, self.stack = findings, compared, provenance.stack()
        self.frames = rerendering.poses_of(read, model, out)
        self.history = merging.history(read.content, out / description.NAME)
        self.merges: list[merging.Merge] = []
        self.label_map = model.label_map
        for names in self.history or () if self.label_map is not None else ():
            self.merges.append(merging.merge(self.label_map, names))
            self.label_map = self.merges[-1].label_map

    def description(self) -> None:
        """Finds what dataset.json and labelmap.json say otherwise than the checkpoint."""
        path, config = self.out / description.NAME, self.model.generator.config
        told = None if self.frames is None else self.frames.told()
        expected = description.describe(self.plan, config, provenance.origin(self.model), told)
        found = self.read.content
        for name in sorted((expected.keys() | found.keys()) - {"plan", description.RELABELLED}):
            if found.get(name) != expected.get(name):
                text = f"{name} is {found.get(name)!r:.200}, of the plan and the checkpoint {expected.get(name)!r:.200}"
                self.findings.add(path, text, remedy="restore it")
        path = self.out / description.LABEL_MAP
        if "mask" in self.plan.modalities and png.load_label_map(path) != self.label_map:
            self.findings.add(path, "it has other classes than the checkpoint", remedy="restore it")

    def group(self, shard: Shard, start: int) -> None:
        """Renders a group again, and compares all that it has."""
        sidecars = rerendering.read_sidecars(self.out, self.plan, shard)
        places = range(start, min(start + self.plan.batch, len(shard.identities)))
        group = [rerendering.read_identity(self.out, self.plan, sidecars, place) for place in places]
        stack = sidecars[VIEWS]["stack"]
        same = self._is_here(stack)
        again = rerendering.render_again(self.plan, self.model, group, self.frames)
        for stored, rendered in zip(group, again, strict=True):
            identical = [self._view(shard, stored, rendered, v, same) for v in range(self.plan.views_per_identity)]
            for kind, data in stored.objects.items():
                self._object(shard, stored, rendered, kind, data, same)
            if self.history is None:
                self._rules(shard, rendered)
            self.compared.views += len(identical)
            self.compared.identical += sum(identical)

    def _view(self, shard: Shard, stored: Stored, rendered: Rendered, v: int, same: bool) -> bool:
        """Whether a view is identical; what is less alike than it has to be is found."""
        forms, view, identical = self.read.forms, rendered.views[v], True
        numbers = {name: record.stored(form, getattr(view, name)) for name, form in forms.items()}
        for merge in self.merges:
            numbers |= merging.merge_numbers(merge, forms, numbers)
        for name, form in forms.items():
            held = record.decode(form, stored.views[v][form.suffix])
            if held.shape == numbers[name].shape and np.array_equal(held, numbers[name]):
                self._tell(name, math.inf if name == "image" else 1.0)
                continue
            identical = False
            value = score(name, form, held, numbers[name]) if held.shape == numbers[name].shape else 0.0
            self._tell(name, value)
            exact = same and (self.history is None or name in LABELS)
            if exact or value < (LEAST_PSNR if name == "image" else LEAST_SHARE):
                self._find(shard, VIEWS, f"{stored.samples[v]['key']}.{form.suffix}", name, value, exact)
        return identical

    def _object(self, shard: Shard, stored: Stored, rendered: Rendered, kind: str, data: bytes, same: bool) -> None:
        """Finds an object that is less alike than it has to be."""
        if same and data == self._encoded(kind, self.plan, rendered):
            self._tell(kind, 1.0)
            return
        # Which points are chosen hangs on last bits, so the chosen ones are looked for among all.
        every = dataclasses.replace(self.plan, cloud=dataclasses.replace(self.plan.cloud, num_points=0))
        held, made = (_vertices(kind, each) for each in (data, self._encoded(kind, every, rendered)))
        box = self.model.generator.config.rendering.box_warp
        reach = 2 * (self.plan.cloud.voxel_size if kind == "points" else box / self.plan.mesh_resolution)
        value = 0.0
        if len(held[0]) and len(made[0]):
            distance, nearest = spatial.cKDTree(made[0]).query(held[0])
            value = float(np.mean((distance <= reach) & (held[1] == made[1][nearest])))
        self._tell(kind, value)
        if same or value < LEAST_POINTS:
            self._find(shard, FOLDERS[kind], record.key_of(stored.identity), kind, value, same)

    def _encoded(self, kind: str, made: Plan, rendered: Rendered) -> bytes:
        data = writing.encode_object(kind, made, self.model, rendered)
        scale = self.model.generator.config.rendering.metres_per_unit
        for merge in self.merges:
            data = merging.merge_object(merge, kind, data, metres_per_unit=scale)
        return data

    def _rules(self, shard: Shard, rendered: Rendered) -> None:
        """Finds an identity that the plan's rules would have dropped."""
        broken = render.broken_rule(self.plan.drops, rendered.views, self.model.label_map)
        if broken is not None:
            view, rule, value = broken
            text = f"it is kept, though it breaks the rule {rule} with {value:.4g}"
            key = record.key_of(rendered.identity, view)
            self.findings.add(shards.sidecar_path(self.out, shard.name), text, key, _REMEDY)

    def _is_here(self, stack: Mapping[str, Any]) -> bool:
        """Whether what comes of this stack has to be identical; remembers how another differs."""
        others = [each for each in (stack, stack.get(provenance.LABELS_STACK)) if isinstance(each, Mapping)]
        for other in others:
            if other.get("fingerprint") != self.stack["fingerprint"]:
                self.compared.stacks.add(difference(other, self.stack))
        return all(other.get("fingerprint") == self.stack["fingerprint"] for other in others)

    def _tell(self, name: str, value: float) -> None:
        self.compared.worst[name] = min(value, self.compared.worst.get(name, math.inf))

    def _find(self, shard: Shard, folder: str, sample: str, name: str, value: float, same: bool) -> None:
        measured = f"{value:.1f} dB" if name == "image" else f"{100 * value:.6g} % agree"
        expected = "expected the same numbers on the same stack"
        if not same:
            least = (
                f"{LEAST_PSNR:g} dB"
                if name == "image"
                else f"{100 * (LEAST_POINTS if folder != VIEWS else LEAST_SHARE):g} %"
            )
            expected = f"expected {least} at least across stacks"
        text = f"it is not what the checkpoint renders ({measured}, {expected})"
        self.findings.add(shards.tar_path(self.out, shard.name, folder), text, sample, _REMEDY)


def difference(stack: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """How a stack differs from this one: "threads 1 (here 2)"."""
    flat = [
        {name: value for name, value in (dict(each.get("versions") or {}) | each).items() if name not in _NOT_TOLD}
        for each in (stack, here)
    ]
    names = [name for name in sorted(flat[0].keys() | flat[1].keys()) if flat[0].get(name) != flat[1].get(name)]
    return some(f"{name} {flat[0].get(name)} (here {flat[1].get(name)})" for name in names)


def _vertices(kind: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and labels (N,) of an object."""
    if kind == "points":
        cloud = ply.decode_cloud(data)
        return cloud.points, cloud.labels
    mesh = ply.decode_mesh(data)
    return mesh.vertices, np.zeros(len(mesh.vertices), np.uint8) if mesh.labels is None else mesh.labels
