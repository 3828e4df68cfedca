"""torchvision's ResNets and DeepLabV3: logits as PyTorch has them, published names, and what is refused."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from converters import torchvision as converter
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers, segmenters
from dnerf_jax.models.classifiers import Classifier, ClassifierConfig
from dnerf_jax.models.segmenters import SegmenterConfig
from dnerf_jax.networks.deeplab import DeepLabConfig
from dnerf_jax.networks.resnet import ResNetConfig
from tests.converters import foreign, torch_segmentation

CASES = torch_segmentation.CASES


def converted(name):
    """The network of a case, with the output stride that the case has."""
    blocks, bottleneck, output_stride, deeplab = CASES[name]
    network = ResNetConfig(blocks, bottleneck, torch_segmentation.WIDTH)
    made = converter.convert(torch_segmentation.state_of(name), network)
    if not deeplab:
        return made
    sizes = made.config.network
    backbone = ResNetConfig(blocks, bottleneck, torch_segmentation.WIDTH, output_stride)
    return made.replace(config=SegmenterConfig(DeepLabConfig(backbone, sizes.num_classes, sizes.width)))


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_pytorch(name):
    network, expected = converted(name), np.load(torch_segmentation.RECORDED)[name]
    logits = classifiers.logits if isinstance(network, Classifier) else segmenters.logits
    found = jax.jit(logits)(network, torch_segmentation.images())
    assert np.abs(expected).std() > 0.02
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_recorded_logits_are_what_pytorch_makes():
    pytest.importorskip("torch")
    recorded = np.load(torch_segmentation.RECORDED)
    for name, value in torch_segmentation.computed().items():
        np.testing.assert_allclose(recorded[name], value, rtol=1e-4, atol=1e-4)


def full_state(network, prefix):
    """Names and shapes, as torch has them, of a network of ours."""
    state = {}
    for path, leaf in traverse_util.flatten_dict(network.params, sep="/").items():
        order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(leaf.shape), range(len(leaf.shape)))
        state[converter.torch_name(path, prefix)] = np.broadcast_to(np.float32(0.5), [leaf.shape[i] for i in order])
    return state


def test_published_networks_have_their_published_names_and_are_recognized():
    backbones = {
        "ResNet-18": ResNetConfig(),
        "ResNet-50": ResNetConfig((3, 4, 6, 3), True),
        "ResNet-101": ResNetConfig((3, 4, 23, 3), True),
    }
    parameters = {"ResNet-18": 11_689_512, "ResNet-50": 25_557_032, "ResNet-101": 44_549_160}  # torchvision's page
    for name, backbone in backbones.items():
        network = classifiers.abstract(ClassifierConfig(backbone))
        assert sum(leaf.size for leaf in jax.tree.leaves(network.params["params"])) == parameters[name]
        state = full_state(network, "")
        assert state["layer4.1.bn2.running_var"].shape == (512,) and state["fc.weight"].shape[0] == 1000
        assert converter.recognized(state, "") == backbone
        assert converter.described(network) == f"{name}, 1000 classes"
    backbone = ResNetConfig((3, 4, 6, 3), True, output_stride=8)
    network = segmenters.abstract(SegmenterConfig(DeepLabConfig(backbone, 21)))
    assert sum(leaf.size for leaf in jax.tree.leaves(network.params["params"])) == 39_638_869  # without its second head
    state = full_state(network, "backbone.")
    assert state["classifier.0.convs.4.1.weight"].shape == (256, 2048, 1, 1)
    assert state["classifier.0.project.0.weight"].shape == (256, 1280, 1, 1)
    assert state["backbone.layer2.0.downsample.0.weight"].shape == (512, 256, 1, 1)
    assert converter.described(network) == "DeepLabV3 of ResNet-50, 21 classes"


def narrow_state():
    """A ResNet-18 of width 2 as torch keeps it, with what nothing reads."""
    network = classifiers.abstract(ClassifierConfig(ResNetConfig(width=2), num_classes=3))
    return full_state(network, "") | {"bn1.num_batches_tracked": np.array(7)}


def test_the_command_writes_what_is_loaded_again(tmp_path, capsys):
    file = foreign.save_state(tmp_path / "resnet18.pth", narrow_state())
    converter.main(str(file), str(tmp_path / "out"), license="BSD", dtype="float16")
    assert "ResNet-18, 3 classes, as float16" in capsys.readouterr().out
    network = networks.load(tmp_path / "out", "classifier")
    assert network.config == ClassifierConfig(ResNetConfig(width=2), num_classes=3)
    assert networks.describe(tmp_path / "out")["origin"] == "resnet18.pth"
    with pytest.raises(ValueError, match="kind 'classifier', expected 'segmenter'"):
        networks.load(tmp_path / "out", "segmenter")


def test_files_of_other_networks_are_refused(tmp_path):
    state = narrow_state()
    half = {name: value for name, value in state.items() if not name.startswith("layer4")}
    for changed, message in (
        ({"features.0.weight": np.zeros((4, 3, 3, 3), np.float32)}, r"no ResNet .* ResNet-101, .*found \[0, 0, 0, 0\]"),
        (half, r"found \[2, 2, 2, 0\] blocks"),
        ({name: value for name, value in state.items() if name != "fc.weight"}, "fc.weight of a ResNet is None"),
        (state | {"layer1.0.conv1.weight": np.ones((2, 4, 3, 3), np.float32)}, "wrong shape: layer1.0.conv1.weight"),
        (state | {"bn1.running_var": np.full(2, -1, np.float32)}, "negative: bn1.running_var"),
        (state | {"bn1.running_mean": np.full(2, np.nan, np.float32)}, "not finite: bn1.running_mean"),
        (state | {"se.fc1.weight": np.ones((2, 2), np.float32)}, "unexpected: 'se.fc1.weight'"),
    ):
        file = foreign.save_state(tmp_path / "other.pth", changed)
        with pytest.raises(ValueError, match=message) as error:
            converter.main(str(file), str(tmp_path / "out"))
        assert str(error.value).startswith(str(file))
    assert not (tmp_path / "out").exists()
