"""Finished stages on the disk: they come back as they were, up to the first that is missing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.inversion import stored
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.stages import Outcome
from dnerf_jax.training.inversion.subject import Subject


def outcome(model, stage, **latents):
    orbit = subjects.default_orbit(model, jnp.array([0.1, 0.2]), jnp.array([0.0, 0.1]))
    subject = Subject(latents.get("z"), latents.get("ws"), orbit, latents.get("weights"))
    return Outcome(stage, subject, (0.5, 0.25), 1.5, {"psnr": 30.0, "miou": 0.5}, stage != "w+")


def test_stages_come_back(tiny_model, tmp_path):
    weights = {"decoder": tiny_model.generator.variables["params"]["decoder"]}
    outcomes = [
        outcome(tiny_model, "start", z=jnp.arange(8.0)),
        outcome(tiny_model, "w+", ws=jnp.ones((5, 16))),
        outcome(tiny_model, "tune", ws=jnp.ones((1, 16)), weights=weights),
    ]
    for one in outcomes:
        stored.save(tmp_path, one)
    names = ["start", "w+", "tune"]
    for old, new in zip(outcomes, stored.load(tmp_path, names), strict=True):
        assert jax.tree.structure(new.subject) == jax.tree.structure(old.subject)
        jax.tree.map(np.testing.assert_array_equal, new.subject, old.subject)
        for name in ("stage", "losses", "seconds", "scores", "kept"):
            assert getattr(new, name) == getattr(old, name)
    assert [one.stage for one in stored.load(tmp_path, ["start", "z", "w+"])] == ["start"]
    assert stored.load(tmp_path / "empty", names) == []


def test_damage_is_refused(tiny_model, tmp_path):
    stored.save(tmp_path, outcome(tiny_model, "start", z=jnp.zeros(8)))
    path = tmp_path / stored.FOLDER / "start.npz"
    np.savez(path, losses=np.zeros(3))
    with pytest.raises(ValueError, match=r"start.npz lacks .*remove it, and it is done again"):
        stored.load(tmp_path, ["start"])
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"start.npz"):
        stored.load(tmp_path, ["start"])
