"""The whole way of bodies, very small: a generator is fitted, views are labelled, a branch learns and is scored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import features, generator, scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.training import branch, frozen, logs, scoring
from dnerf_jax.training.pretraining import fitting, shapes
from dnerf_jax.worlds import bodies, labelled

pytestmark = pytest.mark.slow
synthesize = jax.jit(scenes.synthesize)


@pytest.fixture(scope="module")
def model(shrunk, tmp_path_factory):
    """A generator that was fitted to the bodies world in three steps, read from its checkpoint."""
    workdir = tmp_path_factory.mktemp("bodies")
    with pytest.MonkeyPatch.context() as few:
        few.setattr(shapes, "LATENTS", 2000)
        few.setattr(shapes, "STEPS", 200)
        fitting.fit(cli.as_dataclass(shrunk("bodies_backbone_cpu.py"), fitting.Settings), workdir)
    records = logs.read_metrics(workdir / "metrics.jsonl")
    assert any("shape" in record for record in records) and any("opacity_iou" in record for record in records)
    return checkpoints.load(workdir / "model")


@pytest.fixture(scope="module")
def pack(model):
    """Four views of two latents, each in a pose of its own."""
    recipe = dataclasses.replace(labelled.PACKS["bodies"][1], latents=2, views_each=2)
    return labelled.make(recipe, model, model.generator.config.image_resolution)


def test_a_fitted_generator_has_the_worlds_template_and_tells_shapes_from_w(model):
    assert model.label_map == bodies.LABELS and "bodies world" in dict(model.info)["license"]
    for name, array in bodies.template().items():
        found = np.asarray(model.generator.variables["template"][name])
        np.testing.assert_allclose(found, array, atol=2e-3, err_msg=name)
    z = np.random.default_rng(0).standard_normal((256, bodies.Z_DIM)).astype(np.float32)
    told = generator.body_shape(model.generator, generator.map_latents(model.generator, z))
    known = np.stack([bodies.shape(one) for one in z])
    # Of a w of eight numbers that has learned nothing: better than no guess.
    assert np.mean((np.asarray(told) - known) ** 2) < 0.96 * np.mean(known**2)


def test_a_scene_of_a_latent_has_its_shape_and_another_that_is_added(model):
    z = jax.random.normal(jax.random.key(2), (bodies.Z_DIM,), jnp.float32)
    canonical = bodies.canonical_pose()
    pose = Pose(canonical.rotations, canonical.translation, np.float32(1), np.zeros(16, np.float32))
    taller = pose.replace(shape=np.eye(16, dtype=np.float32)[0])
    plain, more = (synthesize(model, z, pose=one) for one in (pose, taller))
    expected = model.generator.variables["template"]["vertex_shapes"][0]
    moved = np.linalg.norm(np.asarray(more.body.posed - plain.body.posed), axis=-1)
    # Joints move with it, and carry what hangs on them.
    np.testing.assert_allclose(np.median(moved), np.median(np.linalg.norm(expected, axis=-1)), rtol=0.5)


def test_a_generator_keeps_poses_that_it_was_trained_in_and_labels_are_of_them(model):
    template = model.generator.variables["template"]
    assert template["poses"].shape == (2, 38, 3, 3) and model.generator.config.articulation.num_poses == 2
    assert not np.allclose(template["poses"][0], template["poses"][1], atol=0.1)
    recipe = dataclasses.replace(labelled.PACKS["bodies"][0], latents=1, views_each=3)
    made = labelled.make(recipe, model, model.generator.config.image_resolution)
    for view in range(3):
        np.testing.assert_allclose(made.pose.rotations[view], template["poses"][view % 2], atol=1e-6)
        np.testing.assert_allclose(made.pose.translation[view], template["translations"][view % 2], atol=2e-3)
    bare = model.replace(generator=model.generator.replace(variables={"params": {}, "template": bodies.template()}))
    with pytest.raises(ValueError, match="this one knows of none"):
        labelled.make(recipe, bare, 16)


def test_packs_of_bodies_keep_their_poses(model, pack, tmp_path):
    packs.save(tmp_path / "pack", pack)
    again = packs.load(tmp_path / "pack", model, check=0)
    jax.tree.map(np.testing.assert_array_equal, again.pose, pack.pose)
    assert again[1:3].pose.rotations.shape == (2, 38, 3, 3)
    with pytest.raises(ValueError, match="the model has a body, and the views have no poses"):
        packs.verify(dataclasses.replace(pack, pose=None), model, check=0)
    turned = pack.pose.replace(rotations=pack.pose.rotations[:, :5])
    with pytest.raises(ValueError, match="expected .*38, 3, 3"):
        packs.verify(dataclasses.replace(pack, pose=turned), model, check=0)


@pytest.fixture(scope="module")
def trained(shrunk, model, pack, tmp_path_factory):
    """That generator with a branch of three steps."""
    config = shrunk("bodies.py")
    config.steps, config.semantic.num_classes = 3, 15
    settings = cli.as_dataclass(config, branch.Settings)
    return branch.train(settings, model, pack, tmp_path_factory.mktemp("branch"))


def test_a_branch_learns_bodies_and_is_scored(trained, pack):
    scores = scoring.score_pack(trained, pack)
    assert scores["views"] == 4 and len(scores["per_class"]) == 15 and 0 <= scores["miou"] <= 1


def test_labels_are_compared_between_views_and_between_poses(trained, model, tmp_path, capsys):
    params = traverse_util.flatten_dict(trained.generator.variables["params"])
    params["decoder", "fc1", "bias"] = params["decoder", "fc1", "bias"].at[0].add(30.0)  # solid, wherever a body is
    variables = trained.generator.variables | {"params": traverse_util.unflatten_dict(params)}
    solid = trained.replace(generator=trained.generator.replace(variables=variables))
    found = scoring.measure_agreement(solid, scenes_seen=1, views=2, yaw=10.0)
    assert list(found) == ["consistency in 3D", "consistency over poses"]
    for name, poses in zip(found, (1, 2), strict=True):
        one = found[name]
        assert (one["latents"], one["poses"], one["views"], one["yaw"], one["points"]) == (1, poses, 2, 10.0, 400)
        assert one["pixels"] > 0 and 0 <= one["agreement"] <= one["usual"] <= 1 and "by_angle" not in one
    assert found["consistency in 3D"]["pixels"] > 400  # most are seen by both
    scoring.write({}, tmp_path, agreement=found)
    assert "consistency over poses: two views agree on the labels of" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no semantic branch"):
        scoring.measure_followed(model)


def test_what_is_frozen_is_what_is_rendered(shrunk, model, pack):
    """The samples of a posed view, composited, stop as much of every ray as the rendering does."""
    config = cli.as_dataclass(shrunk("heads.py"), branch.Settings).semantic
    selected = frozen.freeze_samples(dataclasses.replace(config, samples_kept=None), model, pack[:1])
    scene = synthesize(model, pack.z[0], pose=jax.tree.map(lambda x: x[0], pack.pose))
    opacity = jax.jit(lambda *seen: features.render(model, 8, 8, *seen)[2].opacity)(scene, pack.camera[0])
    np.testing.assert_allclose(selected.weights[0].sum(-1), opacity, atol=1e-4)
    seen = np.asarray(selected.points)[np.asarray(selected.weights) > 1e-3]
    assert len(seen) > 20 and (np.abs(seen) < 0.55).all()
