"""ResNet, DeepLab and PointNet: sizes at every output stride, running averages, what must not matter, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks import pointnet
from dnerf_jax.networks.deeplab import DeepLab, DeepLabConfig
from dnerf_jax.networks.pointnet import PointNet, PointNetConfig
from dnerf_jax.networks.resnet import ResNet, ResNetConfig, batch_norm
from dnerf_jax.networks.vit import ViTConfig
from dnerf_jax.ops import losses

POINTNET = PointNetConfig(4, (6, 8, 8, 10, 16), (8, 8, 6), (4, 6, 8, 8, 6))


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_features_have_the_output_stride_and_the_same_weights(output_stride, bottleneck):
    config = ResNetConfig((1, 1, 1, 2), bottleneck, 4, output_stride)
    image = jnp.zeros((1, 64, 96, 3))
    network = ResNet(config)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    found = jax.eval_shape(network.apply, variables, image)
    assert found.shape == (1, 64 // output_stride, 96 // output_stride, config.channels)
    plain = jax.eval_shape(ResNet(ResNetConfig((1, 1, 1, 2), bottleneck, 4)).init, jax.random.key(0), image)
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, variables)


def test_dilation_sees_what_stride_would_see():
    """At places of the coarse grid, a dilated network has the features of the strided one, away from the borders."""
    image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 416, 416, 3)), jnp.float32)
    strided, dilated = (ResNet(ResNetConfig((1, 1, 1, 1), True, 2, stride)) for stride in (32, 8))
    variables = jax.jit(strided.init)(jax.random.key(0), image)
    coarse, fine = jax.jit(strided.apply)(variables, image), jax.jit(dilated.apply)(variables, image)
    assert coarse.shape[1:3] == (13, 13) and fine.shape[1:3] == (52, 52)
    np.testing.assert_allclose(fine[:, ::4, ::4][:, 5:8, 5:8], coarse[:, 5:8, 5:8], atol=1e-5)
    assert float(jnp.abs(coarse).max()) > 0.1


@pytest.mark.parametrize("head", [{"width": 8}, {"width": 0, "pyramid": 8}])
def test_the_classes_of_a_vit_are_linear_in_its_features(head):
    with pytest.raises(ValueError, match="expected 0, classes linear in the features of a ViT"):
        DeepLabConfig(ViTConfig(), **head)


def test_an_output_stride_without_dilation_is_refused():
    with pytest.raises(ValueError, match="output_stride is 32 and pyramid 0: expected 16 or 8 without a pyramid"):
        DeepLabConfig(ResNetConfig())
    with pytest.raises(ValueError, match="output_stride is 8 and pyramid 4: .* or 32 with one"):
        DeepLabConfig(ResNetConfig(output_stride=8), width=0, pyramid=4)
    with pytest.raises(ValueError, match="width is 256 and pyramid 4: expected one of them to be 0"):
        DeepLabConfig(ResNetConfig(), pyramid=4)
    assert DeepLabConfig(ResNetConfig(output_stride=16)).dilations == (6, 12, 18)
    assert DeepLabConfig(ResNetConfig(output_stride=8)).dilations == (12, 24, 36)


def test_running_averages_keep_nine_tenths():
    norm = batch_norm(train=True, name="bn")
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, (4, 5, 6, 2)), jnp.float32)
    variables = jax.jit(norm.init)(jax.random.key(0), x)
    made, changed = jax.jit(lambda variables: norm.apply(variables, x, mutable=["batch_stats"]))(variables)
    np.testing.assert_allclose(jnp.mean(made, (0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)


def test_deeplab_labels_images_of_any_size_and_drops_channels_in_training():
    network = DeepLab(DeepLabConfig(ResNetConfig((1, 1, 1, 1), False, 4, 16), 5, width=6))
    image = jnp.asarray(np.random.default_rng(0).standard_normal((2, 33, 48, 3)), jnp.float32)
    variables = jax.jit(network.init)(jax.random.key(0), image)

    @jax.jit
    def train(variables, key):
        return network.apply(variables, image, train=True, mutable=["batch_stats"], rngs={"dropout": key})

    (made, changed), (other, _) = (train(variables, jax.random.key(seed)) for seed in (1, 2))
    assert made.shape == (2, 33, 48, 5) and float(jnp.abs(other - made).max()) > 1e-3
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(variables["batch_stats"])


def test_a_pyramid_adds_what_is_fine_to_what_is_coarse():
    config = DeepLabConfig(ResNetConfig((1, 1, 1, 1), False, 4), 5, width=0, pyramid=6)
    network = DeepLab(config)
    image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 70, 96, 3)), jnp.float32)
    variables = jax.jit(network.init)(jax.random.key(0), image)
    params = variables["params"]
    assert {name for name in params if name.endswith("conv")} == {*(f"pyramid{i}_conv" for i in range(4)), "head_conv"}
    apply = jax.jit(network.apply)

    def only(level):
        """The logits with all other levels silenced by their batch norms, and their steps across a row."""
        silent = {f"pyramid{i}_bn": {"scale": jnp.zeros(6), "bias": jnp.zeros(6)} for i in range(4) if i != level}
        made = apply(variables | {"params": params | silent}, image)
        assert made.shape == (1, 70, 96, 5) and float(jnp.std(made)) > 1e-3
        return np.abs(np.diff(made, 2, axis=2)).mean() / float(jnp.std(made))

    # Between the places of a level logits are linear, but for the head's ReLU: the finer, the more they bend.
    assert only(0) > 2 * only(3)


@pytest.fixture(scope="module")
def clouds():
    """Two clouds of coloured points, a network's variables, and what it makes of these and of any clouds."""
    points = jnp.asarray(np.random.default_rng(0).standard_normal((2, 20, 6)), jnp.float32)
    network = PointNet(POINTNET)
    return points, jax.jit(network.init)(jax.random.key(0), points), jax.jit(network.apply)


def test_the_order_of_points_does_not_matter(clouds):
    points, variables, apply = clouds
    order = np.random.default_rng(1).permutation(20)
    made, moved = apply(variables, points), apply(variables, points[:, order])
    assert made.logits.shape == (2, 20, 4) and made.transform.shape == (2, 8, 8)
    np.testing.assert_allclose(moved.logits, made.logits[:, order], atol=1e-5)
    np.testing.assert_allclose(made.transform, jnp.broadcast_to(jnp.eye(8), (2, 8, 8)))  # before any training
    assert float(losses.orthogonality(made.transform)) == 0


def test_points_alone_are_turned_and_the_whole_cloud_counts(clouds):
    """The colours behind x, y, z are no places; and a point far away changes what all others are called."""
    points, variables, apply = clouds
    quarter = jnp.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    turning = jax.tree.map(jnp.asarray, variables)
    turning["params"]["input_transform"]["out"]["bias"] = (quarter - jnp.eye(3)).reshape(-1)
    turned = jnp.concatenate([points[..., :3] @ quarter, points[..., 3:]], axis=-1)
    np.testing.assert_allclose(apply(turning, points).logits, apply(variables, turned).logits, atol=1e-5)
    far = points.at[:, 0].add(10.0)
    assert float(jnp.abs(apply(variables, far).logits - apply(variables, points).logits)[:, 1:].max()) > 1e-3


def test_only_rotations_cost_nothing():
    quarter = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    assert float(losses.orthogonality(quarter[None])) == 0
    # I - A A^T = diag(1 - 4, 0) of one matrix, nothing of the other.
    assert float(losses.orthogonality(jnp.stack([jnp.diag(jnp.array([2.0, 1.0])), quarter]))) == pytest.approx(4.5)


def test_the_largest_of_points_sends_its_gradient_to_one_of_them():
    x = jnp.array([[[1.0, 5.0], [3.0, 5.0], [2.0, 4.0]]])
    value, back = jax.vjp(pointnet.largest, x)
    np.testing.assert_array_equal(value, [[[3.0, 5.0]]])
    np.testing.assert_array_equal(back(jnp.ones_like(value))[0], [[[0, 1], [1, 0], [0, 0]]])
