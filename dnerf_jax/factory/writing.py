"""Identities into a shard: files of their views, clouds and meshes, and what the sidecars say of them."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dnerf_jax.factory import record, shards
from dnerf_jax.factory.plan import Plan, Shard
from dnerf_jax.factory.record import Form
from dnerf_jax.factory.render import Drop, Rendered
from dnerf_jax.factory.shards import FOLDERS, VIEWS, Tar
from dnerf_jax.io import files, ply
from dnerf_jax.models import shapes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import meshes, points


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An identity as files.

    views: for each of its samples, what the sidecar says of it but where its files are, and these files by suffix.
    objects: the same of its clouds and meshes, by kind. drops: its draws that were dropped, as sidecars have them.
    """

    identity: int
    views: list[tuple[dict[str, Any], dict[str, bytes]]]
    objects: dict[str, tuple[dict[str, Any], dict[str, bytes]]]
    drops: list[dict[str, Any]]


def write(
    plan: Plan,
    model: Model,
    forms: Mapping[str, Form],
    shard: Shard,
    made: Iterable[tuple[Rendered, list[Drop]]],
    out: pathlib.Path,
    stack: Mapping[str, Any],
) -> None:
    """Writes a shard into the folder of a dataset, all its tars and sidecars; nothing if anything fails on the way.

    made: its identities, in order, as they are rendered; none is kept.
    """

    def encoded() -> Iterator[Encoded]:
        for rendered, dropped in made:
            views = [encode_view(plan, model, forms, shard, rendered, v) for v in range(plan.views_per_identity)]
            objects = {
                kind: object_sample(
                    kind, rendered.identity, rendered.attempt, encode_object(kind, plan, model, rendered)
                )
                for kind in FOLDERS
                if kind in plan.modalities
            }
            yield Encoded(rendered.identity, views, objects, [dataclasses.asdict(drop) for drop in dropped])

    write_encoded(plan, shard, encoded(), out, stack)


def write_encoded(
    plan: Plan, shard: Shard, made: Iterable[Encoded], out: pathlib.Path, stack: Mapping[str, Any]
) -> None:
    """As `write`, of identities that are files already."""
    with contextlib.ExitStack() as opened:
        tars, samples = {}, {}
        for folder in shards.folders(plan):
            path = opened.enter_context(files.atomic_file(shards.tar_path(out, shard.name, folder)))
            tars[folder] = Tar(opened.enter_context(open(path, "wb")))
            samples[folder] = []
        drops: list[dict[str, Any]] = []
        for identity in made:
            drops += identity.drops
            for view in identity.views:
                samples[VIEWS].append(_add(tars[VIEWS], *view))
            for kind, found in identity.objects.items():
                samples[FOLDERS[kind]].append(_add(tars[FOLDERS[kind]], *found))
        if [sample["identity"] for sample in samples[VIEWS][:: plan.views_per_identity]] != list(shard.identities):
            raise ValueError(f"what was rendered are not the identities of the shard {shard.name}")
        sidecars = {folder: shards.sidecar_text(shard, tars[folder], samples[folder], drops, stack) for folder in tars}
    # The tars are in their places. The sidecar of the views says that all is there, so it comes last.
    for folder in reversed(sidecars):
        files.write_text(shards.sidecar_path(out, shard.name, folder), sidecars[folder])


def _add(tar: Tar, sample: Mapping[str, Any], members: Mapping[str, bytes]) -> dict[str, Any]:
    """Adds the files of a sample to a tar; returns the sample with where they are."""
    places = {suffix: tar.add(f"{sample['key']}.{suffix}", data) for suffix, data in members.items()}
    return {name: places if name == "members" else value for name, value in sample.items()}


def encode_view(
    plan: Plan, model: Model, forms: Mapping[str, Form], shard: Shard, rendered: Rendered, v: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """View v of an identity as an entry of `Encoded.views`."""
    view, key = rendered.views[v], record.key_of(rendered.identity, v)
    palette = None if model.label_map is None else model.label_map.palette
    numbers = {name: record.stored(form, getattr(view, name)) for name, form in forms.items()}
    members = {
        form.suffix: record.encode(form, numbers[name], palette if name == "mask" else None)
        for name, form in forms.items()
    }
    matrices = view.camera.cam2world, view.camera.intrinsics
    pose = None if rendered.frames is None else rendered.frames[v]
    own = record.describe(rendered.identity, v, rendered.attempt, shard.split, rendered.z, *matrices, pose)
    members[record.JSON] = record.to_json(own)
    sample = {"key": key, "identity": rendered.identity, "view": v, "attempt": rendered.attempt, "members": {}}
    sample["pixels"] = {name: record.pixel_hash(array) for name, array in numbers.items()}
    if "mask" in numbers and model.label_map is not None:
        sample["area"] = areas(numbers["mask"], model.label_map.num_classes)
    return sample, members


def areas(mask: np.ndarray, num_classes: int) -> list[int]:
    """The pixels of each class."""
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes].tolist()


def encode_object(kind: str, plan: Plan, model: Model, rendered: Rendered) -> bytes:
    """The file of an identity's cloud ("points"), or of its "mesh" with the labels that its views show."""
    scale, views = model.generator.config.rendering.metres_per_unit, rendered.views
    if kind == "mesh":
        grid = {"resolution": plan.mesh_resolution, "level": plan.mesh_level}
        mesh = shapes.extract_mesh(model.replace(semantic=None), rendered.scene, **grid)
        if views.mask is not None and model.label_map is not None:
            # Not the raw semantic map's: behind what the views show is what the generator made up.
            mesh = meshes.with_labels_of_views(mesh, views.mask, views.depth_z, views.camera, model.label_map)
        return ply.encode_mesh(mesh, metres_per_unit=scale)
    cloud = points.from_views(
        views,
        label_map=model.label_map,
        num_points=plan.cloud.num_points or None,
        voxel_size=plan.cloud.voxel_size,
    )
    return ply.encode_cloud(cloud, metres_per_unit=scale)


def object_sample(kind: str, identity: int, attempt: int, data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The file of an identity's object as an entry of `Encoded.objects`."""
    sample = {"key": record.key_of(identity), "identity": identity, "attempt": attempt, "members": {}}
    pixels = {kind: hashlib.sha256(data).hexdigest()[:16]}
    return sample | {"pixels": pixels}, {record.OBJECT_SUFFIX[kind]: data}
