"""Bodies in poses: what is seen of them, poses that are none, and that nothing else knows of any of it.

That renderings are those of the released code is said by its recordings: `tests/converters/test_gnarf_verify.py`.
"""

import dataclasses

import bending_box
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bending_box import pose, turn

from dnerf_jax.io import checkpoints
from dnerf_jax.models import articulated, pixels, scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.ops import skinning
from dnerf_jax.ops.cameras import Camera

repose = jax.jit(scenes.repose)


@pytest.fixture(scope="module")
def model(small_model):
    """A small generator in a box of two bones."""
    return bending_box.in_a_box(small_model)


@pytest.fixture(scope="module")
def render():
    return jax.jit(scenes.render, static_argnames=("rows_at_once",))


@pytest.fixture(scope="module")
def scene(model):
    z = jax.random.normal(jax.random.key(3), (8,), jnp.float32)
    return jax.jit(scenes.synthesize)(model, z)


def test_a_body_is_seen_within_its_shell_and_nowhere_else(model, scene, render):
    view = render(model, scene, scenes.default_camera(model, 0.2, 0.1))
    solid = np.isfinite(np.asarray(view.distance))
    assert 0.05 < solid.mean() < 0.95
    points = np.asarray(view.points)[solid]
    assert (np.abs(points) < np.array([0.5, 0.7, 0.45])).all()
    assert np.asarray(view.mask)[~solid].size and np.isfinite(np.asarray(view.logits)).all()
    np.testing.assert_allclose(np.linalg.norm(np.asarray(view.normal)[solid], axis=-1), 1, atol=1e-3)


def test_a_body_that_turns_is_a_camera_that_turns_back(model, scene, render):
    """A rigid motion of the whole body, seen by a camera that moves with it: the same view, in the moved world."""
    camera = scenes.default_camera(model, 0.1, 0.0)
    moved = pose(turn(0.7), jnp.eye(3), translation=(0.05, -0.1, 0.2))
    rigid = jnp.eye(4).at[:3, :3].set(turn(0.7)).at[:3, 3].set(moved.translation)
    follows = Camera(rigid @ camera.cam2world, camera.intrinsics)
    before = render(model, scene, camera)
    after = render(model, repose(model, scene, moved), follows)
    for name in ("image", "logits", "opacity"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=0.02)
    solid = np.isfinite(np.asarray(before.distance)) & np.isfinite(np.asarray(after.distance))
    expected = np.asarray(before.points)[solid] @ np.asarray(turn(0.7)).T + np.asarray(moved.translation)
    np.testing.assert_allclose(np.asarray(after.points)[solid], expected, atol=0.01)
    turned = np.asarray(before.normal)[solid] @ np.asarray(turn(0.7)).T
    assert np.median(np.abs(np.asarray(after.normal)[solid] - turned)) < 0.01


@pytest.mark.slow
def test_parts_and_batches_of_a_view_are_the_view(model, scene, render):
    camera = scenes.default_camera(model, 0.2, 0.1)
    poses = jax.tree.map(lambda *x: jnp.stack(x), pose(), pose(jnp.eye(3), turn(0.5)))
    both = repose(model, scene, poses)
    assert both.batch_shape == (2,)
    views = render(model, both, camera, rows_at_once=2)
    assert np.abs(np.asarray(views.image[0] - views.image[1])).max() > 0.05
    for i in range(2):
        alone = render(model, both[i], camera)
        np.testing.assert_allclose(views.image[i], alone.image, atol=1e-4)
        np.testing.assert_allclose(views.opacity[i], alone.opacity, atol=1e-4)


def test_single_rays_and_whole_views_agree(model, scene, render):
    camera, index = scenes.default_camera(model, 0.2, 0.1), jnp.arange(64)

    @jax.jit
    def see(model, scene, camera):
        chosen = pixels.sample(model, scene, camera, index)
        return chosen, pixels.complete(model, scene, camera, chosen, index)

    chosen, (image, logits) = see(model, scene, camera)
    view = render(model, scene, camera)
    np.testing.assert_allclose(chosen.features[:, :3].reshape(8, 8, 3), view.image_raw, atol=1e-4)
    np.testing.assert_allclose(image, view.image, atol=1e-3)
    np.testing.assert_allclose(logits, view.logits, atol=1e-3)


@pytest.mark.slow
def test_gradients_reach_the_pose(model, scene):
    camera = scenes.default_camera(model, 0.2, 0.1)

    @jax.jit
    @jax.value_and_grad
    def loss(at):
        bent = Pose(jnp.stack([jnp.eye(3), skinning.rotation(at[:3])]), at[3:], jnp.ones(()), jnp.zeros(0))
        chosen = pixels.sample(model, scenes.repose(model, scene, bent), camera, jnp.arange(20, 44))
        return jnp.mean(jnp.square(chosen.features[:, :3]))

    at = jnp.float32([0.02, 0.1, -0.03, 0.01, 0.0, 0.02])
    middle, grad = loss(at)
    assert np.isfinite(np.asarray(grad)).all() and np.abs(np.asarray(grad)).max() > 1e-4
    way = grad / jnp.linalg.norm(grad)
    assert loss(at - 0.01 * way)[0] < middle < loss(at + 0.01 * way)[0]


def test_a_pose_by_hand_names_its_bones():
    made = articulated.turned(bending_box.BONES, {"upper": (0.0, 0.5, 0.0)})
    np.testing.assert_allclose(made.rotations, [np.eye(3), turn(0.5)], atol=1e-6)
    several = articulated.turned(bending_box.BONES, {"upper": np.zeros((4, 3)), "root": (0, 0.2, 0)})
    assert several.batch_shape == (4,) and articulated.check(bending_box.BONES, several)
    np.testing.assert_allclose(several.rotations[:, 0], [turn(0.2)] * 4, atol=1e-6)
    with pytest.raises(ValueError, match="no bones 'uper'; did you mean 'upper'"):
        articulated.turned(bending_box.BONES, {"uper": (0, 0, 0)})
    for wrong, words in (
        ((0, 0), r"it has shape \(2,\), expected \(\.\.\., 3\)"),
        ((0, 0, np.nan), "not finite"),
        ("up", "upper is turned by an axis times an angle, three numbers: "),
    ):
        with pytest.raises(ValueError, match=words):
            articulated.turned(bending_box.BONES, {"upper": wrong})
    with pytest.raises(ValueError, match="root is turned by an axis times an angle, three numbers: Incompatible"):
        articulated.turned(bending_box.BONES, {"upper": np.zeros((2, 3)), "root": np.zeros((3, 3))})


def test_a_templates_own_poses_are_had_by_number():
    config = dataclasses.replace(bending_box.BONES, num_poses=3)
    own = {
        "poses": jnp.stack([pose(jnp.eye(3), turn(0.1 * n)).rotations for n in range(3)]),
        "translations": jnp.eye(3),
    }
    np.testing.assert_array_equal(articulated.known(config, own, 2).translation, [0, 0, 1])
    two = articulated.known(config, own, [1, 0])
    np.testing.assert_array_equal(two.rotations, own["poses"][jnp.array([1, 0])])
    assert two.batch_shape == (2,) and articulated.check(config, two)
    for number in (3, -1, True, 1.5):
        with pytest.raises(ValueError, match=f"has 3 poses, counted from 0, and no number {number}"):
            articulated.known(config, own, number)


def test_a_body_is_saved_with_its_model(model, tmp_path):
    for dtype in ("float32", "float16"):
        checkpoints.save(tmp_path / dtype, model, dtype=dtype)
        loaded = checkpoints.load(tmp_path / dtype)
        assert loaded.generator.config == model.generator.config
        before, after = (one.generator.variables["template"] for one in (model, loaded))
        assert set(before) == set(after) and after["faces"].dtype == jnp.int32
        np.testing.assert_array_equal(before["faces"], after["faces"])
        np.testing.assert_allclose(before["vertices"], after["vertices"], atol=1e-3)


def test_poses_that_are_none_are_refused(model, small_model, scene):
    for wrong, words in (
        (pose(jnp.eye(3)), r"rotations of shape \(1, 3, 3\), expected \(..., 2, 3, 3\) of the bones root, upper"),
        (pose(jnp.eye(3), 2 * jnp.eye(3)), "rotations of upper are none"),
        (pose(jnp.eye(3), jnp.diag(jnp.float32([1, 1, -1]))), "rotations of upper are none"),
        (pose(jnp.eye(3), jnp.full((3, 3), jnp.nan)), "rotations .* not finite"),
        (pose(translation=(0.0, jnp.nan, 0.0)), "translation .* not finite"),
        (pose(scale=0.0), "scale is 0.0, expected 0.01 to 100"),
        (pose().replace(shape=jnp.zeros(2)), r"shape of shape \(2,\), expected \(0,\)"),
        (np.eye(3), "a ndarray was given for the pose"),
    ):
        with pytest.raises(ValueError, match=words):
            scenes.repose(model, scene, wrong)
    with pytest.raises(ValueError, match="no body"):
        jax.eval_shape(lambda: scenes.synthesize(small_model, jnp.zeros(8), pose=pose()))
    with pytest.raises(ValueError, match="the model has a body, the scene none"):
        scenes.render(model, scene.replace(body=None), scenes.default_camera(model))
    with pytest.raises(ValueError, match="do not broadcast"):
        poses = jax.tree.map(lambda x: jnp.stack([x] * 3), pose())
        scenes.repose(model, jax.tree.map(lambda x: jnp.stack([x] * 2), scene), poses)


def test_templates_that_are_none_are_refused():
    for change, words in (
        ({"parents": (-1,)}, "2 bones and 1 parents"),
        ({"parents": (-1, 1)}, "not so are upper"),
        ({"bones": ("root", "root")}, "name of its own"),
        ({"rule": "vertex"}, "num_neighbours is 0 with the rule 'vertex'"),
    ):
        with pytest.raises(ValueError, match=words):
            dataclasses.replace(bending_box.BONES, **change)


def test_joints_go_where_the_body_goes():
    config = dataclasses.replace(bending_box.BONES)
    own = {"joints": jnp.float32([[0, 0, 0], [0, 0.2, 0]]), "vertices": jnp.zeros((8, 3))}
    bent = dataclasses.replace(
        pose(turn(np.pi / 2, 2), jnp.eye(3)), translation=jnp.float32([1, 0, 0]), scale=jnp.float32(2)
    )
    np.testing.assert_allclose(articulated.joints(config, own, bent), [[1, 0, 0], [0.6, 0, 0]], atol=1e-6)
