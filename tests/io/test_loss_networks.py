"""Folders of loss networks: what is written is what is read, what is embedded loads, what is damaged is refused."""

import json

import jax
import numpy as np
import pytest

from dnerf_jax.io import files, loss_networks
from dnerf_jax.models import identity, perception
from dnerf_jax.networks.face_descriptor import FaceDescriptorConfig
from dnerf_jax.networks.squeezenet import SqueezeNetConfig


def small(kind):
    if kind == "perception":
        config = perception.PerceptionConfig(SqueezeNetConfig(4, (1,) * 8), (0.0,) * 3, (1.0,) * 3, calibrated=True)
        return perception.init(config, jax.random.key(0))
    points = tuple((name, 1.0 * i, 2.0 * i * i) for i, name in enumerate("abcde"))
    config = identity.IdentityConfig(FaceDescriptorConfig((4, 4), (1, 1), 6), 32, points, (0.0,) * 3, (1.0,) * 3, True)
    return identity.init(config, jax.random.key(0))


LOADERS = {"perception": loss_networks.load_perception, "identity": loss_networks.load_identity}
BOUNDS = {"float32": 0.0, "float16": 5e-4, "int8": 4e-3}  # of the largest of an array


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("kind", LOADERS)
def test_what_is_written_is_read(tmp_path, kind, dtype):
    network = small(kind)
    loss_networks.save(tmp_path / "net", network, info={"origin": "here"}, license_text="free", dtype=dtype)
    loaded = LOADERS[kind](tmp_path / "net")
    assert loaded.config == network.config and loss_networks.describe(tmp_path / "net") == {"origin": "here"}
    assert (tmp_path / "net" / "LICENSE").read_text() == "free"

    def near(a, b):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=BOUNDS[dtype] * float(np.abs(b).max()) + 1e-12)

    jax.tree.map(near, loaded.params, network.params)


def test_embedded_networks_load_and_have_their_licence():
    names = files.embedded_names(loss_networks.MARKER)
    assert "squeezenet" in names
    for name in names:
        assert (files.ASSETS / name / "LICENSE").is_file() and loss_networks.describe(name)["license"]
    network = loss_networks.load_perception()
    assert sum(leaf.size for leaf in jax.tree.leaves(network.params)) == 722_496


def damaged(folder, **changes):
    path = folder / loss_networks.MARKER
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_wrong_is_said(tmp_path):
    folder = tmp_path / "net"
    loss_networks.save(folder, small("identity"), info={})
    with pytest.raises(ValueError, match="no network 'nowhere'.*squeezenet"):
        loss_networks.load_perception("nowhere")
    with pytest.raises(ValueError, match="kind 'identity', expected 'perception'"):
        loss_networks.load_perception(folder)
    with pytest.raises(ValueError, match="not empty"):
        loss_networks.save(folder, small("identity"), info={})
    with pytest.raises(ValueError, match="dtype is 'int4'"):
        loss_networks.save(tmp_path / "other", small("identity"), info={}, dtype="int4")
    good = json.loads((folder / loss_networks.MARKER).read_text())
    for changes, message in (
        ({"schema_version": 9}, "schema version 9"),
        ({"fingerprint": 3}, "lacks \\['fingerprint'\\]"),
        ({"fingerprint": "0" * 16}, "changed or damaged"),
        ({"info": {"origin": 3}}, "texts in info"),
        ({"config": good["config"] | {"unit": 3}}, "config.unit"),
        ({"config": good["config"] | {"points": good["config"]["points"][:4]}}, "expected 5"),
        ({"config": good["config"] | {"network": {"widths": [4, 4], "depths": [1, 2], "features": 6}}}, "other arrays"),
        ({"config": good["config"] | {"network": {"widths": [4, 8], "depths": [1, 1], "features": 6}}}, "other shapes"),
        ({"config": good["config"] | {"network": {"widths": [4, 1 << 40], "depths": [1, 1]}}}, "config"),
    ):
        damaged(folder, **(good | changes))
        with pytest.raises(ValueError, match=message):
            loss_networks.load_identity(folder)
    damaged(folder, **good)
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"weights.npz cannot be read as arrays"):
        loss_networks.load_identity(folder)
