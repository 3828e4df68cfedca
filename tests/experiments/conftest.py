"""What the tests of the ablations share: a bench with the tiny generator, and its packs in the embedded ones' place."""

import pytest

from dnerf_jax.experiments import ablations, rows
from dnerf_jax.io import checkpoints, configurations, files
from dnerf_jax.training import branch, scoring


@pytest.fixture
def in_small(shrunk, tiny_assets, tiny_pack, monkeypatch):
    """The configuration, generator and packs of the tests where the embedded ones are asked for.

    A seed's labelled views are one latent's.
    """
    config = shrunk("heads.py")
    config.update(steps=3, views_per_step=2)
    monkeypatch.setattr(configurations, "load_config", {"heads": config}.__getitem__)
    monkeypatch.setattr(files, "ASSETS", tiny_assets)

    def choose(model, latents, views, seed):
        return tiny_pack[3 * (seed % 2) : 3 * (seed % 2) + 3]

    monkeypatch.setattr(ablations, "labelled_views", choose)
    for table in ("4", "5", "ceiling"):
        monkeypatch.setitem(rows.SETS, table, scoring.EMBEDDED)
    return config


@pytest.fixture
def bench(in_small, tiny_assets, tmp_path):
    """Where ablations are run in the tests."""
    base = configurations.as_dataclass(in_small, branch.Settings)
    return ablations.Bench(base, checkpoints.load(tiny_assets / "heads"), tmp_path / "bench")
