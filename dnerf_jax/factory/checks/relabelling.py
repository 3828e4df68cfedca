"""Other labels for a dataset that is there: of another branch of its generator, in other classes, or both.

Pictures, depth, normals, cameras and latents are copied byte for byte. With a checkpoint masks, confidence, logits,
clouds and meshes are those that it renders of the same latents from the same cameras; that these are of the pictures is
seen by rendering the pictures too, which takes a tenth of the time: where they differ, nothing is written. With new
names of classes alone nothing is rendered (see `merging`). Shards are written one by one, whole or not at all, and a
relabelling that was interrupted goes on after the last one.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dnerf_jax.factory import description, plan, poses, provenance, record, shards, writing
from dnerf_jax.factory.checks import comparison, merging, rerendering
from dnerf_jax.factory.checks.merging import Merge
from dnerf_jax.factory.checks.rerendering import Stored
from dnerf_jax.factory.description import LABEL_MAP, NAME, RELABELLED
from dnerf_jax.factory.plan import LABELS, Plan, Shard
from dnerf_jax.factory.record import Form
from dnerf_jax.factory.render import Rendered
from dnerf_jax.factory.shards import VIEWS
from dnerf_jax.factory.writing import Encoded
from dnerf_jax.io import checkpoints, files, png, schema
from dnerf_jax.models.model import Model
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import process


def relabel(
    source: Path,
    out: Path,
    *,
    model: Model | None = None,
    names: Mapping[str, str] | None = None,
    on_shard: Callable[[Shard], None] | None = None,
) -> None:
    """Writes a dataset as another one with other labels.

    Args:
      source: folder of the dataset.
      out: folder of the new one, which no other process writes into; what is there of it is kept.
      model: the same generator with the branch that gives the labels; None keeps those that are there.
      names: new names by old ones, see `merging`.
      on_shard: called after each shard that is written.

    Raises ValueError: there is nothing to do, the dataset is damaged or of another generator, has no labels whose
    classes could be merged, or there is another one in `out`.
    """
    work = _Relabelling(source, out, model, names)
    work.describe()
    for folder in shards.folders(work.plan):
        files.remove_partials(out / folder)  # of one that was killed
    for shard in plan.shards(work.plan):
        if not shards.is_done(work.plan, shard, out):
            work.shard(shard)
            if on_shard is not None:
                on_shard(shard)


def run(source: str, out: str, checkpoint: str, labelmap: str) -> list[str]:
    """Relabels by files, telling of each shard; what a worker's process does. Returns what there is to be warned of.

    checkpoint, labelmap: "" where there is none.
    """
    process.prepare()
    model = checkpoints.load(checkpoint) if checkpoint else None
    names = merging.load(Path(labelmap)) if labelmap else None
    with warnings.catch_warnings(record=True) as told:
        relabel(Path(source), Path(out), model=model, names=names, on_shard=lambda shard: print(shard.name, flush=True))
    return sorted({str(warning.message) for warning in told})


class _Relabelling:
    """What stays the same from shard to shard."""

    def __init__(self, source: Path, out: Path, model: Model | None, names: Mapping[str, str] | None) -> None:
        self.source, self.out, self.model = source, out, model
        self.read = description.read(source)
        self.stack, self.frames = provenance.stack(), None
        if model is None and not names:
            raise ValueError("there is nothing to do: give another checkpoint, new names of classes, or both")
        if model is not None:
            rerendering.require_generator(self.read, model, source)
            self.frames = rerendering.poses_of(self.read, model, source)
        self.label_map, self.merge = self._classes(names)
        self.plan = self._new_plan()
        self.forms = self._new_forms()

    def describe(self) -> None:
        """Writes dataset.json and labelmap.json. Raises ValueError: another dataset is there."""
        # Labels that are kept may have had other names before.
        classes = [*(merging.history(self.read.content, self.source / NAME) or ())] if self.model is None else []
        classes += [] if self.merge is None else [dict(self.merge.classes)]
        origin = self.read.checkpoint if self.model is None else provenance.origin(self.model)
        content = dict(self.read.content) | {
            "plan": description.plan_as_json(self.plan, self.read.content.get(description.POSES)),
            "checkpoint": dict(origin),
            "forms": {name: dataclasses.asdict(form) for name, form in self.forms.items()},
            RELABELLED: {"checkpoint": dict(self.read.checkpoint), "classes": classes},
        }
        path = self.out / NAME
        if path.exists():
            schema.require_same(self.out, files.read_json(path), content, except_for=())
        else:
            png.save_label_map(self.out / LABEL_MAP, self.label_map)
            if self.read.num_poses:
                said = poses.read_text(self.source, self.read.poses_fingerprint)
                files.write_text(self.out / poses.NAME, said)
            files.write_json(path, content, indent=2)

    def shard(self, shard: Shard) -> None:
        """Writes a shard. Raises ValueError: the one that it is made of is damaged."""
        sidecars = rerendering.read_sidecars(self.source, self.read.plan, shard)
        for folder, sidecar in sidecars.items():
            path = shards.tar_path(self.source, shard.name, folder)
            with open(path, "rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == sidecar["sha256"]
            if not sound or sidecar["identities"] != list(shard.identities):
                raise ValueError(f"{path} is damaged, or of another plan: look at all by dnerf_jax.verify")
        stack = sidecars[VIEWS]["stack"] | {provenance.LABELS_STACK: self.stack}
        writing.write_encoded(self.plan, shard, self._identities(shard, sidecars), self.out, stack)

    def _identities(self, shard: Shard, sidecars: Mapping[str, Mapping[str, Any]]) -> Iterator[Encoded]:
        made = self.read.plan
        for start in range(0, len(shard.identities), made.batch):
            places = range(start, min(start + made.batch, len(shard.identities)))
            group = [rerendering.read_identity(self.source, made, sidecars, place) for place in places]
            # With all of the new plan, so that it is the program that makes and verifies such a dataset.
            rendered = (
                [None] * len(group)
                if self.model is None
                else rerendering.render_again(self.plan, self.model, group, self.frames)
            )
            for stored, again in zip(group, rendered, strict=True):
                drops = [drop for drop in sidecars[VIEWS]["drops"] if drop["identity"] == stored.identity]
                views = [self._view(stored, again, v) for v in range(made.views_per_identity)]
                objects = {kind: self._object(stored, again, kind, data) for kind, data in stored.objects.items()}
                yield Encoded(stored.identity, views, objects, drops)

    def _view(self, stored: Stored, again: Rendered | None, v: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A view with new labels."""
        before, members = stored.samples[v], dict(stored.views[v])
        labels = {name: form for name, form in self.forms.items() if name in LABELS}
        if again is None:
            kept = {name: form for name, form in self.read.forms.items() if name in LABELS}
            numbers = {name: record.decode(form, members[form.suffix]) for name, form in kept.items()}
        else:
            self._require_picture(stored, again, v)
            numbers = {name: record.stored(form, getattr(again.views[v], name)) for name, form in labels.items()}
        if self.merge is not None:
            numbers |= merging.merge_numbers(self.merge, labels, numbers)
        for name, form in labels.items():
            palette = self.label_map.palette if name == "mask" else None
            members[form.suffix] = record.encode(form, numbers[name], palette)
        pixels = before["pixels"] | {name: record.pixel_hash(numbers[name]) for name in labels}
        sample = {name: before[name] for name in ("key", "identity", "view", "attempt")} | {"members": {}}
        sample["pixels"] = {name: pixels[name] for name in self.forms}
        sample["area"] = writing.areas(numbers["mask"], self.label_map.num_classes)
        suffixes = [*(form.suffix for form in self.forms.values()), record.JSON]
        return sample, {suffix: members[suffix] for suffix in suffixes}

    def _object(
        self, stored: Stored, again: Rendered | None, kind: str, data: bytes
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A cloud or mesh with new labels."""
        if again is not None and self.model is not None:
            data = writing.encode_object(kind, self.plan, self.model, again)
        if self.merge is not None:
            data = merging.merge_object(
                self.merge, kind, data, metres_per_unit=self.read.content.get("metres_per_unit")
            )
        return writing.object_sample(kind, stored.identity, stored.attempt, data)

    def _require_picture(self, stored: Stored, again: Rendered, v: int) -> None:
        """Raises ValueError: the stored picture is not what the generator makes of the view's latent and camera."""
        form = self.read.forms["image"]
        held = record.decode(form, stored.views[v][form.suffix])
        rendered = record.stored(form, again.views[v].image)
        psnr = comparison.score("image", form, held, rendered) if held.shape == rendered.shape else 0.0
        if psnr < comparison.LEAST_PSNR:
            raise ValueError(
                f"{self.source}: the picture {stored.samples[v]['key']} is not what the checkpoint renders of its "
                f"latent ({psnr:.1f} dB), so that its labels are unknown: look at the dataset by dnerf_jax.verify"
            )

    def _classes(self, names: Mapping[str, str] | None) -> tuple[LabelMap, Merge | None]:
        """The new label map, and how it comes of the one of the model, or of the dataset."""
        if self.model is not None:
            if self.model.semantic is None or self.model.label_map is None:
                raise ValueError("this checkpoint has no semantic branch, so it gives no labels: train one first")
            label_map = self.model.label_map
        elif "mask" in self.read.plan.modalities:
            label_map = png.load_label_map(self.source / LABEL_MAP)
        else:
            raise ValueError(f"{self.source} has no labels whose classes could get other names: give a checkpoint")
        made = merging.merge(label_map, names) if names else None
        return (label_map if made is None else made.label_map), made

    def _new_plan(self) -> Plan:
        """The plan with a mask, and without a confidence that cannot be known."""
        modalities = self.read.plan.modalities
        if "mask" not in modalities:
            modalities = (*modalities, "mask")
        if self.merge is not None and "confidence" in modalities and "logits" not in modalities:
            warnings.warn(
                f"{self.out} gets no confidence: that of merged classes needs the logits, which {self.source} has not",
                stacklevel=4,
            )
            modalities = tuple(name for name in modalities if name != "confidence")
        return dataclasses.replace(self.read.plan, modalities=modalities)

    def _new_forms(self) -> dict[str, Form]:
        if self.model is not None:
            return record.forms(self.plan, self.model.generator.config)
        return {name: self.read.forms[name] for name in self.plan.view_modalities}
