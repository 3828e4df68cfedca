"""The factory: datasets made from a checkpoint and a plan, read, checked and exported. `factory.load` reads one."""

from dnerf_jax.factory.loading import Dataset, load

__all__ = ["Dataset", "load"]
