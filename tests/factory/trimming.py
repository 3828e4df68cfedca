"""Datasets that lack something, made of one that has it, without rendering."""

import shutil
from pathlib import Path

from dnerf_jax.factory import description, record, shards
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.io import files


def trimmed(source: Path, out: Path, *, modalities: tuple[str, ...] | None = None, views: int | None = None) -> Path:
    """A copy of a dataset with these modalities, and as many views of each identity; all by default."""
    shutil.copytree(source, out)
    content = files.read_json(out / description.NAME)
    kept = modalities or content["plan"]["modalities"]
    content["plan"]["modalities"] = list(kept)
    content["plan"]["views_per_identity"] = views or content["plan"]["views_per_identity"]
    content["forms"] = {name: form for name, form in content["forms"].items() if name in kept}
    files.write_json(out / description.NAME, content)
    plan = description.read(out).plan
    suffixes = {record.JSON, *(form["suffix"] for form in content["forms"].values())}
    for kind, folder in shards.FOLDERS.items():
        if kind not in kept and (out / folder).exists():
            shutil.rmtree(out / folder)
    if "mask" not in kept:
        (out / description.LABEL_MAP).unlink()
    for shard in shards_of(plan):
        sidecar = shards.read_sidecar(out, shard.name)
        samples = [sample for sample in sidecar["samples"] if sample["view"] < plan.views_per_identity]
        path = shards.tar_path(out, shard.name)
        with open(path, "rb") as file:
            members = [shards.read_members(file, sample) for sample in samples]
        with open(path, "wb") as file:
            tar = shards.Tar(file)
            for sample, found in zip(samples, members, strict=True):
                found = {suffix: data for suffix, data in found.items() if suffix in suffixes}
                sample["members"] = {
                    suffix: tar.add(f"{sample['key']}.{suffix}", data) for suffix, data in found.items()
                }
                sample["pixels"] = {name: sample["pixels"][name] for name in content["forms"]}
                if "mask" not in kept:
                    del sample["area"]
            text = shards.sidecar_text(shard, tar, samples, sidecar["drops"], sidecar["stack"])
        files.write_text(shards.sidecar_path(out, shard.name), text)
    return out


def renamed(source: Path, out: Path, names: tuple[str, ...]) -> Path:
    """A copy of a dataset whose classes have other names."""
    shutil.copytree(source, out)
    content = files.read_json(out / description.LABEL_MAP)
    for entry, name in zip(content["classes"], names, strict=True):
        entry["name"] = name
    files.write_json(out / description.LABEL_MAP, content)
    return out
