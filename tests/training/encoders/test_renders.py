"""What an encoder learns from: identities by their key, whatever the shards, made once and refused when damaged."""

import dataclasses

import jax
import numpy as np
import pytest

from dnerf_jax.io import checkpoints
from dnerf_jax.models import scenes
from dnerf_jax.ops import images
from dnerf_jax.training.encoders import renders
from dnerf_jax.training.encoders.plan import Data

pytestmark = pytest.mark.slow  # all render

DATA = Data(identities=5, views=2, held_out=1, yaw=40.0, pitch=15.0, processes=1)


@pytest.fixture(scope="module")
def checkpoint(tiny_assets):
    return str(tiny_assets / "heads")


@pytest.fixture(scope="module")
def made(checkpoint, tmp_path_factory):
    """All views, in one shard."""
    return renders.render(checkpoint, "f", 3, DATA, tmp_path_factory.mktemp("views") / "one")


def test_views_are_the_generators_own(made, tiny_model):
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        "z": ((5, 8), np.float32),
        "image": ((5, 2, 8, 8, 3), np.uint8),
        "pose": ((5, 2, 2), np.float32),
    }
    degrees = np.degrees(np.abs(made["pose"]))
    assert (degrees[..., 0] <= DATA.yaw).all() and (degrees[..., 1] <= DATA.pitch).all() and (degrees > 0).all()
    assert len(np.unique(made["z"])) == made["z"].size and len(np.unique(made["pose"])) == made["pose"].size
    camera = scenes.default_camera(tiny_model, *made["pose"][2].T)
    render = jax.jit(lambda model, z: scenes.render(model, scenes.synthesize(model, z), camera).image_raw)
    expected = images.to_uint8(np.asarray(render(tiny_model, made["z"][2])), span=(-1, 1))
    assert np.abs(made["image"][2].astype(int) - expected).mean() < 3  # what is empty was skipped


def test_shards_do_not_change_the_identities_and_are_made_once(made, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(renders, "SHARD", 2)
    again = renders.render(checkpoint, "f", 3, DATA, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, again, made)
    assert "3/3 shards" in capsys.readouterr().out and len(list(tmp_path.iterdir())) == 3
    first = sorted(tmp_path.iterdir())[0]
    for file in first.iterdir():
        file.unlink()
    first.rmdir()
    jax.tree.map(np.testing.assert_array_equal, renders.render(checkpoint, "f", 3, DATA, tmp_path), made)
    assert capsys.readouterr().out.count("rendered") == 1
    monkeypatch.setattr(checkpoints, "load", lambda *_: pytest.fail("nothing was missing"))
    renders.render(checkpoint, "f", 3, DATA, tmp_path)
    assert "rendered" not in capsys.readouterr().out


def test_other_seeds_and_poses_are_other_files(made, checkpoint, tmp_path):
    few = dataclasses.replace(DATA, identities=1)
    other = renders.render(checkpoint, "f", 4, few, tmp_path)
    assert (other["z"] != made["z"][:1]).all()
    narrow = renders.render(checkpoint, "f", 3, dataclasses.replace(few, yaw=10.0), tmp_path)
    np.testing.assert_array_equal(narrow["z"], made["z"][:1])
    assert np.degrees(np.abs(narrow["pose"][..., 0])).max() <= 10
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_shard_is_named(made, checkpoint, tmp_path):
    few = dataclasses.replace(DATA, identities=1)
    renders.render(checkpoint, "f", 3, few, tmp_path)
    file = next(tmp_path.glob("*/image.npy"))
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"image.npy is damaged .*: delete its folder"):
        renders.render(checkpoint, "f", 3, few, tmp_path)
