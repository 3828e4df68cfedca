"""Encoders on the disk: what is saved is loaded, what is damaged is refused, and a generator finds its own."""

import json

import jax
import numpy as np
import pytest

from dnerf_jax.io import encoders as encoder_files
from dnerf_jax.io import files
from dnerf_jax.models import encoders
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.networks.encoder import EncoderConfig

CONFIG = EncoderConfig(resolution=16, widths=(6, 8, 8, 12), blocks=1, hidden=10, z_dim=5)


@pytest.fixture(scope="module")
def trained(random_arrays):
    template = jax.eval_shape(lambda: encoders.init(CONFIG, jax.random.key(0)))
    return TrainedEncoder(CONFIG, random_arrays(template, 0), "0123456789abcdef")


@pytest.mark.parametrize("dtype, tolerance", [("float32", 0), ("float16", 1e-3)])
def test_what_is_saved_is_loaded(trained, tmp_path, dtype, tolerance):
    encoder_files.save(tmp_path / "one", trained, dtype=dtype)
    loaded = encoder_files.load(tmp_path / "one")
    assert loaded.config == trained.config and loaded.generator == trained.generator
    assert jax.tree.structure(loaded) == jax.tree.structure(trained)
    for ours, theirs in zip(jax.tree.leaves(loaded), jax.tree.leaves(trained), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_another_is_replaced_only_if_told(trained, tmp_path):
    encoder_files.save(tmp_path / "one", trained)
    with pytest.raises((ValueError, FileExistsError), match="one"):
        encoder_files.save(tmp_path / "one", trained)
    encoder_files.save(tmp_path / "one", trained.replace(generator="f" * 16), replace=True)
    assert encoder_files.load(tmp_path / "one").generator == "f" * 16


def change(folder, **values):
    """Changes fields of encoder.json; None removes one."""
    path = folder / "encoder.json"
    description = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in description.items() if value is not None}))


def test_what_is_damaged_is_refused_by_name(trained, tmp_path):
    with pytest.raises(ValueError, match=r"there is no encoder .*none: it has no encoder.json. Train one"):
        encoder_files.load(tmp_path / "none")
    encoder_files.save(tmp_path / "one", trained)
    sound = {path: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    network = json.loads((tmp_path / "one" / "encoder.json").read_text())["network"]

    def refused(message, **values):
        for path, content in sound.items():
            path.write_bytes(content)
        change(tmp_path / "one", **values)
        with pytest.raises(ValueError, match=message):
            encoder_files.load(tmp_path / "one")

    refused("lacks .*generator", generator=None)
    refused("lacks .*network", network=[1])
    refused("not what encoder.json says .*the numbers", fingerprint="0" * 16)
    refused("not what encoder.json says .*out/kernel", network=network | {"z_dim": 6})
    refused("resolution is 24, expected a multiple of 16", network=network | {"resolution": 24})
    refused("params.npz .*lacks the arrays", network=network | {"blocks": 2})
    refused("encoder.json: no network can be built of these sizes", network=network | {"z_dim": 2**63})
    refused("encoder.json: network.blocks is 1000000", network=network | {"blocks": 10**6})
    refused("encoder.json: network", network=network | {"widths": "wide"})
    params = next(path for path in sound if path.suffix == ".npz")
    for path, content in sound.items():
        path.write_bytes(content)
    params.write_bytes(sound[params][:-100])
    with pytest.raises(ValueError, match="params.npz cannot be read as arrays"):
        encoder_files.load(tmp_path / "one")


def test_a_generator_finds_the_embedded_encoder_of_its_fingerprint(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ASSETS", tmp_path)
    assert encoder_files.embedded(trained.generator) is None
    encoder_files.save(tmp_path / "cats_encoder", trained.replace(generator="f" * 16))
    encoder_files.save(tmp_path / "heads_encoder", trained)
    found = encoder_files.embedded(trained.generator)
    assert found is not None and found.generator == trained.generator
    assert encoder_files.embedded("0" * 16) is None


def test_a_generator_finds_its_own_beside_its_checkpoint_or_where_it_is_told(trained, tmp_path):
    encoder_files.save(tmp_path / "encoder", trained)
    encoder_files.save(tmp_path / "other", trained.replace(generator="f" * 16))
    own = trained.generator
    assert encoder_files.find(own, tmp_path / "model").generator == own
    assert encoder_files.find(own, "heads", str(tmp_path / "encoder")).generator == own
    assert encoder_files.find(own, tmp_path / "elsewhere" / "model") is None
    assert encoder_files.find("e" * 16, tmp_path / "model") is None  # what lies beside is of another
    with pytest.raises(ValueError, match=r"other is of the generator f{12}, and heads has .*dnerf_jax.encode"):
        encoder_files.find(own, "heads", str(tmp_path / "other"))
