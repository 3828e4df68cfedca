"""Engines by their names, and what their workers ask for."""

import pytest

from dnerf_jax.factory.runs import clusters, ray_engine, slurm_engine


def test_engines_have_names():
    assert clusters.engine("process") is None
    of_ray = clusters.engine("ray", "10.0.0.1:6379", "num_gpus=1,memory=4e9")
    assert of_ray.func is ray_engine.on_ray
    assert of_ray.keywords == {"cluster": "10.0.0.1:6379", "resources": {"num_gpus": 1, "memory": 4e9}}
    of_slurm = clusters.engine("slurm")
    assert of_slurm.func is slurm_engine.on_slurm and of_slurm.keywords == {"cluster": None, "resources": {}}
    with pytest.raises(ValueError, match="engine is 'spark', expected one of process, ray, slurm"):
        clusters.engine("spark")
    for options in (("auto", ""), ("", "num_gpus=1")):
        with pytest.raises(ValueError, match="give --engine ray or slurm"):
            clusters.engine("process", *options)


def test_resources_are_numbers_and_words():
    assert clusters.parse("") == {}
    assert clusters.parse(" mem_gb=4, slurm_partition=gpu ,share=0.5,") == {
        "mem_gb": 4,
        "slurm_partition": "gpu",
        "share": 0.5,
    }
    for text in ("gpu", "=1", "num_gpus=", "num_gpus=1,memory"):
        with pytest.raises(ValueError, match="expected name=value"):
            clusters.parse(text)


def test_what_ray_counts_are_numbers():
    with pytest.raises(ValueError, match="resources has no numbers for slurm_partition"):
        ray_engine.on_ray(None, [], None, resources={"num_cpus": 1, "slurm_partition": "gpu"})
