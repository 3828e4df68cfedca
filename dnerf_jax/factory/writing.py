"""Rendered identities into a shard: files of its views, its clouds and meshes, and what the sidecars say of them."""

import contextlib
import dataclasses
import hashlib
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
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
from dnerf_jax.ops import points


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
    with contextlib.ExitStack() as opened:
        tars, samples = {}, {}
        for folder in shards.folders(plan):
            path = opened.enter_context(files.atomic_file(shards.tar_path(out, shard.name, folder)))
            tars[folder] = Tar(opened.enter_context(open(path, "wb")))
            samples[folder] = []
        drops: list[dict[str, Any]] = []
        for rendered, dropped in made:
            drops += map(dataclasses.asdict, dropped)
            _add_views(tars[VIEWS], samples[VIEWS], plan, model, forms, shard, rendered)
            for kind, folder in FOLDERS.items():
                if kind in plan.modalities:
                    _add_object(tars[folder], samples[folder], kind, plan, model, rendered)
        if [sample["identity"] for sample in samples[VIEWS][:: plan.views_per_identity]] != list(shard.identities):
            raise ValueError(f"what was rendered are not the identities of the shard {shard.name}")
        sidecars = {folder: shards.sidecar_text(shard, tars[folder], samples[folder], drops, stack) for folder in tars}
    # The tars are in their places. The sidecar of the views says that all is there, so it comes last.
    for folder in reversed(sidecars):
        files.write_text(shards.sidecar_path(out, shard.name, folder), sidecars[folder])


def _add_views(
    tar: Tar,
    samples: list[dict[str, Any]],
    plan: Plan,
    model: Model,
    forms: Mapping[str, Form],
    shard: Shard,
    rendered: Rendered,
) -> None:
    """Adds an identity's views to the tar, and what the sidecar says of them."""
    palette = None if model.label_map is None else model.label_map.palette
    for v in range(plan.views_per_identity):
        view, key = rendered.views[v], record.key_of(rendered.identity, v)
        numbers = {name: record.stored(form, getattr(view, name)) for name, form in forms.items()}
        members = {
            form.suffix: record.encode(form, numbers[name], palette if name == "mask" else None)
            for name, form in forms.items()
        }
        matrices = view.camera.cam2world, view.camera.intrinsics
        own = record.describe(rendered.identity, v, rendered.attempt, shard.split, rendered.z, *matrices)
        members[record.JSON] = record.to_json(own)
        sample = {"key": key, "identity": rendered.identity, "view": v, "attempt": rendered.attempt}
        sample["members"] = {suffix: tar.add(f"{key}.{suffix}", data) for suffix, data in members.items()}
        sample["pixels"] = {name: record.pixel_hash(array) for name, array in numbers.items()}
        if "mask" in numbers and model.label_map is not None:
            sample["area"] = areas(numbers["mask"], model.label_map.num_classes)
        samples.append(sample)


def areas(mask: np.ndarray, num_classes: int) -> list[int]:
    """The pixels of each class."""
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes].tolist()


def _add_object(
    tar: Tar, samples: list[dict[str, Any]], kind: str, plan: Plan, model: Model, rendered: Rendered
) -> None:
    """Adds an identity's cloud or mesh."""
    key, scale = record.key_of(rendered.identity), model.generator.config.rendering.metres_per_unit
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "object.ply"
        if kind == "points":
            cloud = points.from_views(
                rendered.views,
                label_map=model.label_map,
                num_points=plan.cloud.num_points or None,
                voxel_size=plan.cloud.voxel_size,
            )
            ply.save_cloud(path, cloud, metres_per_unit=scale)
        else:
            ply.save_mesh(path, shapes.extract_mesh(model, rendered.scene, resolution=plan.mesh_resolution))
        data = path.read_bytes()
    suffix = record.OBJECT_SUFFIX[kind]
    samples.append(
        {
            "key": key,
            "identity": rendered.identity,
            "attempt": rendered.attempt,
            "members": {suffix: tar.add(f"{key}.{suffix}", data)},
            "pixels": {kind: hashlib.sha256(data).hexdigest()[:16]},
        }
    )
