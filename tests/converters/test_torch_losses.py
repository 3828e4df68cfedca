"""torchvision's and LPIPS's files: names, shapes, distances as PyTorch has them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import arcface, states
from converters import perception as converter
from dnerf_jax.io import loss_networks
from dnerf_jax.models import identity, perception
from dnerf_jax.networks.arcface import ArcFaceConfig
from dnerf_jax.networks.squeezenet import SqueezeNetConfig
from dnerf_jax.networks.vgg import VGGConfig
from tests.converters import foreign, torch_losses

VGG = VGGConfig(widths=(4, 8, 8, 12, 12))
SQUEEZENET = SqueezeNetConfig(stem=8, fires=(4, 4, 8, 8, 8, 12, 12, 16))


def given():
    vgg = torch_losses.random_state(torch_losses.vgg_shapes(), 2)
    linear = {name: value for name, value in vgg.items() if name.startswith("lin")}
    plain = {name: value for name, value in vgg.items() if name not in linear}
    return {
        "vgg": (VGG, plain, None),
        "vgg_calibrated": (VGG, plain, linear),
        "squeezenet": (SQUEEZENET, torch_losses.random_state(torch_losses.fire_shapes(), 3), None),
    }


@pytest.mark.parametrize("name", ["vgg", "vgg_calibrated", "squeezenet"])
def test_distances_are_those_of_pytorch(name):
    sizes, state, linear = given()[name]
    network = converter.convert(state, linear, network=sizes)
    a, b = torch_losses.pictures(0, 3, (40, 50)), torch_losses.pictures(1, 3, (40, 50))
    found = jax.jit(perception.distance)(network, jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(found, np.load(torch_losses.RECORDED)[name], rtol=1e-4)


def arcface_network():
    sizes = ArcFaceConfig(widths=(8, 16, 24), depths=(2, 2, 1), reduction=4, features=10)
    return sizes, torch_losses.random_state(torch_losses.ir_shapes(), 4)


def test_embeddings_are_those_of_pytorch():
    sizes, state = arcface_network()
    network = arcface.convert(state | {"body.0.res_layer.0.num_batches_tracked": np.int64(3)}, network=sizes, size=32)
    found = jax.jit(identity.describe)(network, jnp.asarray(torch_losses.pictures(5, 2, (32, 32))))
    np.testing.assert_allclose(found, np.load(torch_losses.RECORDED)["arcface"], atol=1e-4)


def test_wrong_embeddings_are_refused():
    sizes, state = arcface_network()
    for change, message in (
        ({"output_layer.4.running_var": -state["output_layer.4.running_var"]}, "output_layer.4 has shapes that differ"),
        ({"body.1.res_layer.1.weight": np.zeros((8, 8, 1, 1), np.float32)}, "wrong shape: body.1.res_layer.1.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            arcface.convert(state | change, network=sizes, size=32)
    del state["input_layer.1.running_mean"]
    with pytest.raises(ValueError, match="lacks input_layer.1.running_mean"):
        arcface.convert(state, network=sizes, size=32)


def test_arcface_has_its_published_names():
    """Names and shapes of IR-SE50's 24 blocks, body.0 to body.23, and of its embedding."""
    config = identity.IdentityConfig(ArcFaceConfig(), 112, arcface.POINTS, (0.0,) * 3, (1.0,) * 3, True)
    shapes = jax.tree_util.tree_flatten_with_path(identity.abstract(config).params)[0]
    names = {arcface.torch_name(config.network, "/".join(key.key for key in path)): leaf.shape for path, leaf in shapes}
    assert len(names) == len(shapes)
    assert names["body.23.res_layer.5.fc1.weight"] == (1, 1, 512, 32)
    assert names["body.3.shortcut_layer.0.weight"] == (1, 1, 64, 128) and "body.0.shortcut_layer.0.weight" not in names
    assert names["output_layer.3.weight"] == (25088, 512)


def test_what_is_recorded_is_what_pytorch_makes():
    pytest.importorskip("torch")
    recorded = np.load(torch_losses.RECORDED)
    for name, value in torch_losses.computed().items():
        np.testing.assert_allclose(recorded[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [VGGConfig(), SqueezeNetConfig()])
def test_published_files_have_the_published_names_and_shapes(sizes):
    """Shapes of the real networks' tensors, of which the first and last are known."""
    config = perception.PerceptionConfig(sizes, (0.0,) * 3, (1.0,) * 3)
    shapes = jax.tree_util.tree_flatten_with_path(perception.abstract(config).params)[0]
    names = {}
    for path, leaf in shapes:
        names[converter.torch_name(sizes, "/".join(key.key for key in path))] = leaf.shape
    assert len(names) == (26 if isinstance(sizes, VGGConfig) else 50)
    if isinstance(sizes, VGGConfig):
        assert names["features.0.weight"] == (3, 3, 3, 64) and names["features.28.weight"] == (3, 3, 512, 512)
    else:
        assert names["features.3.squeeze.weight"] == (1, 1, 64, 16)
        assert names["features.12.expand3x3.weight"] == (3, 3, 64, 256)


def full_state():
    """Zeros with the names and shapes of torchvision's SqueezeNet 1.1, and LPIPS's weights on it."""
    config = perception.PerceptionConfig(SqueezeNetConfig(), (0.0,) * 3, (1.0,) * 3, calibrated=True)
    state = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(perception.abstract(config).params)[0]:
        name = converter.torch_name(config.network, "/".join(key.key for key in path))
        shape = tuple(leaf.shape[i] for i in (3, 2, 0, 1)) if len(leaf.shape) == 4 else leaf.shape
        state[name] = np.full((1, *shape, 1, 1) if name.startswith("lin") else shape, 0.01, np.float32)
    linear = {name: state.pop(name) for name in list(state) if name.startswith("lin")}
    return state | {"classifier.1.weight": np.zeros((10, 512, 1, 1), np.float32)}, linear


def test_the_command_writes_what_is_loaded(tmp_path, capsys):
    state, linear = full_state()
    files = foreign.save_state(tmp_path / "net.pth", state), foreign.save_state(tmp_path / "lin.pth", linear)
    converter.main(str(files[0]), str(tmp_path / "out"), linear=str(files[1]), license="BSD", dtype="float16")
    assert "SqueezeNet, with LPIPS's weights, as float16" in capsys.readouterr().out
    network = loss_networks.load_perception(tmp_path / "out")
    assert network.config.calibrated and set(network.params["linear"]) == set("0123456")
    info = loss_networks.describe(tmp_path / "out")
    assert info["origin"] == "net.pth" and info["linear"] == "lin.pth" and info["license"] == "BSD"


def test_wrong_files_are_refused(tmp_path):
    _, state, linear = given()["vgg_calibrated"]
    for change, message in (
        ({"features.0.weight": state["features.0.weight"][:, :2]}, "wrong shape: features.0.weight"),
        ({"features.0.bias": np.full(4, np.nan, np.float32)}, "not finite: features.0.bias"),
        ({"features.0.bias": np.zeros(4, np.int32)}, "wrong type: features.0.bias"),
        ({"features.99.bias": np.zeros(4, np.float32)}, "unexpected: 'features.99.bias'"),
    ):
        with pytest.raises(ValueError, match=message):
            converter.convert(state | change, network=VGG)
    with pytest.raises(ValueError, match="missing: lin4.model.1.weight"):
        converter.convert(state, {name: linear[name] for name in list(linear)[:4]}, network=VGG)
    with pytest.raises(ValueError, match="negative"):
        converter.convert(state, {name: -value for name, value in linear.items()}, network=VGG)
    (tmp_path / "other.pth").write_bytes(foreign.zipped([1, 2]))
    with pytest.raises(ValueError, match="other.pth.*expected a state dict"):
        states.read_state(tmp_path / "other.pth")
