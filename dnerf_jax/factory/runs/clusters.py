"""Which engine makes a dataset: this machine, a Ray cluster, or Slurm; and what its workers ask for."""

import functools

import jax

from dnerf_jax.factory.runs import ray_engine, slurm_engine
from dnerf_jax.factory.runs.engines import Engine
from dnerf_jax.ops.messages import some

_ENGINES = {"process": None, "ray": ray_engine.on_ray, "slurm": slurm_engine.on_slurm}


def engine(name: str, cluster: str = "", resources: str = "") -> Engine | None:
    """The engine of a name, None for this machine.

    Args:
      name: "process", "ray" or "slurm".
      cluster: which; see `ray_engine.on_ray` and `slurm_engine.on_slurm`.
      resources: of a worker: name=value, ...

    Raises ValueError: there is no such engine, it has no clusters, or the resources are not such.
    """
    if name not in _ENGINES:
        raise ValueError(f"engine is {name!r:.50}, expected one of {some(_ENGINES)}")
    on_cluster = _ENGINES[name]
    if on_cluster is None:
        if cluster or resources:
            raise ValueError("cluster and resources are for engines that have them: give --engine ray or slurm")
        return None
    # The command only looks on, and leaves accelerators to the workers, which may be on this machine.
    jax.config.update("jax_platforms", "cpu")
    return functools.partial(on_cluster, cluster=cluster or None, resources=parse(resources))


def parse(text: str) -> dict[str, int | float | str]:
    """Names and values of "num_gpus=1,memory=4e9". Raises ValueError: it is not such."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if not name or not value:
            raise ValueError(f"resources has {part!r:.50}, expected name=value,name=value: num_gpus=1,memory=4e9, say")
        found[name] = _number(value)
    return found


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
