"""Scenes and views: the same whatever the batch, geometry that agrees with the camera, one frame for all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import scenes, semantic
from dnerf_jax.ops import cameras

pytestmark = pytest.mark.slow  # all render or train

synthesize = jax.jit(scenes.synthesize, static_argnames=("noise_mode", "truncation_cutoff"))
render = jax.jit(scenes.render, static_argnames=("resolution", "rows_at_once"))


@pytest.fixture(scope="module")
def poses(tiny_config):
    """Four cameras on the generator's orbit."""
    made = jax.jit(lambda yaw, pitch: scenes.default_camera(tiny_config, yaw, pitch))
    return made(np.array([-0.4, 0.0, 0.2, 0.5]), np.array([0.1, 0.0, -0.2, 0.2]))


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def latent_scenes(tiny_semantic_model, z):
    return synthesize(tiny_semantic_model, z)


@pytest.fixture(scope="module")
def views(tiny_semantic_model, latent_scenes, poses):
    return jax.tree.map(np.asarray, render(tiny_semantic_model, latent_scenes, poses))


def without_branch(scene):
    """The scene as a model without a branch makes it."""
    return scene.replace(semantic_planes=None)


@pytest.fixture(scope="module")
def plain_grid(tiny_model, latent_scenes, poses):
    """Two of the scenes from two of the cameras each, without a branch: entry (i, j) is scene i from camera j."""
    return render(tiny_model, without_branch(latent_scenes)[1:3, None], poses[1:3])


def assert_same_view(view, other):
    """All that the view has is the same, where there is something to see.

    Two programs round differently, which may decide where a ray is sampled: one ray of many may be another in both, and
    what superresolution makes of it.
    """
    labelled = ("logits", "semantic_raw") if view.mask is not None else ()
    for name in ("image", "image_raw", "opacity", "points", "distance", "depth_z", *labelled):
        ours, theirs = np.asarray(getattr(view, name)), np.asarray(getattr(other, name))
        solid = np.isfinite(theirs) & np.isfinite(ours)
        assert (np.isfinite(ours) == np.isfinite(theirs)).mean() > 0.99, name
        off = np.abs(ours[solid] - theirs[solid]) / np.sqrt(np.mean(theirs[solid] ** 2))
        assert np.sqrt(np.mean(off**2)) <= 1e-2, f"{name} differs by {np.sqrt(np.mean(off**2)):.2g}"
        assert name in ("image", "logits") or np.median(off) <= 1e-5, f"{name} differs by {np.median(off):.2g}"
    if labelled:
        assert np.mean(np.asarray(view.mask) == other.mask) > 0.99
        assert np.median(np.abs(view.confidence - other.confidence)) < 1e-4
    # A normal is that of the heaviest sample: where two are about equally heavy, rounding decides.
    assert np.quantile(np.abs(view.normal - other.normal), 0.9) < 1e-3


@pytest.mark.parametrize("index", range(4))
def test_a_sample_is_the_same_alone_and_in_a_batch(index, tiny_semantic_model, z, poses, latent_scenes, views):
    alone = synthesize(tiny_semantic_model, z[index])
    expected = jax.tree.map(lambda x: x[index], latent_scenes)
    for ours, theirs in zip(jax.tree.leaves(alone), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
    view = render(tiny_semantic_model, alone, poses[index])
    assert_same_view(view, views[index])


def test_a_sample_with_its_own_key_is_the_same_in_another_batch(tiny_model, latent_scenes, poses, views):
    plain = without_branch(latent_scenes)

    def keys():
        return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(7), i))(jnp.arange(4))

    batch = jax.tree.map(np.asarray, render(tiny_model, plain, poses, key=keys()))
    assert np.abs(batch.image - views.image).max() > 1e-2  # other depths than without keys
    order = np.array([2, 0, 3, 1])
    assert_same_view(render(tiny_model, plain[order], poses[order], key=keys()[order]), batch[order])
    assert_same_view(render(tiny_model, plain[1], poses[1], key=keys()[1]), batch[1])
    with pytest.raises(ValueError, match=r"key has shape \(\), expected one key for every view, \(4,\): split it"):
        render(tiny_model, plain, poses, key=keys()[0])


def test_dimensions_of_scenes_and_cameras_broadcast(plain_grid, poses, views):
    assert plain_grid.image.shape == (2, 2, 16, 16, 3)
    assert plain_grid.camera.cam2world.shape == (2, 2, 4, 4)
    for i in range(2):
        assert_same_view(plain_grid[i, i], views[1 + i])
    np.testing.assert_array_equal(plain_grid.camera.cam2world[0, 1], poses.cam2world[2])
    assert np.abs(plain_grid.image[0, 1] - plain_grid.image[1, 1]).max() > 0.1
    assert np.abs(plain_grid.image[0, 1] - plain_grid.image[0, 0]).max() > 0.1


@pytest.mark.parametrize(("latents", "around"), [((4,), ()), ((), (4,)), ((2, 3), (2, 3))], ids=str)
def test_either_side_may_have_one_entry_or_none(latents, around, tiny_semantic_model, latent_scenes, poses):
    def shaped(tree, batch):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(batch + x.shape[1:], x.dtype), tree)

    view = jax.eval_shape(scenes.render, tiny_semantic_model, shaped(latent_scenes, latents), shaped(poses, around))
    batch = latents or around
    assert view.image.shape == (*batch, 16, 16, 3) and view.mask.shape == view.depth_z.shape == (*batch, 16, 16)
    assert view.image_raw.shape == (*batch, 8, 8, 3) and view.camera.intrinsics.shape == (*batch, 3, 3)


def test_latents_have_any_number_of_dimensions(tiny_semantic_model):
    made = jax.eval_shape(scenes.synthesize, tiny_semantic_model, jax.ShapeDtypeStruct((2, 3, 8), jnp.float32))
    assert made.ws.shape == (2, 3, 6, 16) and made.planes.shape == (2, 3, 3, 16, 16, 4)
    assert made.semantic_planes.shape == (2, 3, 3, 16, 16, 16)


def test_points_project_back_to_their_pixels(views):
    solid = np.isfinite(views.distance)
    assert 0.2 < solid.mean() < 1  # something and nothing are both to be seen
    uv, z = jax.jit(cameras.project)(views.camera, views.points.reshape(4, 256, 3))
    centres = (np.arange(16) + 0.5) / 16
    expected = np.broadcast_to(np.stack(np.meshgrid(centres, centres), -1), (4, 16, 16, 2))
    np.testing.assert_allclose(np.reshape(uv, (4, 16, 16, 2))[solid], expected[solid], atol=1e-5)
    np.testing.assert_allclose(np.reshape(z, (4, 16, 16))[solid], views.depth_z[solid], rtol=1e-5)


def test_distance_is_along_the_ray_and_depth_along_the_axis(views):
    solid = np.isfinite(views.distance)
    np.testing.assert_array_equal(np.isfinite(views.depth_z), solid)
    centres = views.camera.cam2world[:, None, None, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(views.points - centres, axis=-1)[solid], views.distance[solid], rtol=1e-5)
    # The pinhole relation: distance / depth = sqrt(1 + x^2 + y^2) at focal length 1.
    offset = ((np.arange(16) + 0.5) / 16 - 0.5) / 4.2647
    ratio = np.broadcast_to(np.sqrt(1 + offset[:, None] ** 2 + offset**2), (4, 16, 16))
    np.testing.assert_allclose(views.distance[solid] / views.depth_z[solid], ratio[solid], rtol=1e-5)
    assert (views.distance[solid] > 2.2).all() and (views.distance[solid] < 3.5).all()


def test_less_than_half_of_a_ray_is_nothing(views):
    np.testing.assert_array_equal(np.isfinite(views.distance), views.opacity > 0.5)
    assert views.opacity.min() >= 0 and views.opacity.max() <= 1


def test_masks_are_the_largest_logits(views):
    assert views.mask.dtype == np.uint8
    np.testing.assert_array_equal(views.mask, views.logits.argmax(-1))


def test_without_a_branch_there_are_images_and_geometry(tiny_model, z, plain_grid, latent_scenes):
    plain = synthesize(tiny_model, z)
    assert plain.semantic_planes is None and plain_grid.logits is None and plain_grid.mask is None
    np.testing.assert_allclose(plain.planes, latent_scenes.planes, atol=1e-4)  # nothing of the generator changes


def test_latents_may_be_given_as_they_are(tiny_semantic_model, z, latent_scenes):
    again = jax.jit(lambda ws: scenes.synthesize(tiny_semantic_model, ws=ws).planes)(latent_scenes.ws)
    np.testing.assert_allclose(again, latent_scenes.planes, rtol=1e-4, atol=1e-4)
    for arguments in ({}, {"z": z, "ws": latent_scenes.ws}):
        with pytest.raises(ValueError, match="either z or ws"):
            scenes.synthesize(tiny_semantic_model, **arguments)


def ws_of(model, *arguments, **options):
    """The latents of a scene alone: compilation leaves the rest out."""
    return jax.jit(lambda model: scenes.synthesize(model, *arguments, **options).ws)(model)


def test_the_mapping_sees_a_frontal_camera_unless_told(tiny_model, z, latent_scenes, poses):
    frontal = cameras.to_eg3d(scenes.default_camera(tiny_model.generator.config))
    np.testing.assert_allclose(ws_of(tiny_model, z, frontal), latent_scenes.ws, atol=1e-6)
    assert np.abs(ws_of(tiny_model, z, cameras.to_eg3d(poses[3])) - latent_scenes.ws).max() > 1e-3


def test_truncation_and_noise_are_passed_on(tiny_model, z, latent_scenes):
    average = np.broadcast_to(tiny_model.generator.variables["buffers"]["mapping"]["w_avg"], (4, 2, 16))
    cut = ws_of(tiny_model, z, truncation_psi=0.0, truncation_cutoff=2)
    np.testing.assert_allclose(cut[:, :2], average, atol=1e-6)
    np.testing.assert_allclose(cut[:, 2:], latent_scenes.ws[:, 2:], atol=1e-6)
    silent = synthesize(tiny_model, z, noise_mode="none")
    np.testing.assert_allclose(silent.ws, latent_scenes.ws, atol=1e-6)
    assert np.abs(silent.planes - latent_scenes.planes).max() > 0.1


def test_the_rendering_resolution_can_be_chosen(tiny_model, latent_scenes, poses):
    one = without_branch(latent_scenes)[1]
    finer = jax.eval_shape(lambda: scenes.render(tiny_model, one, poses[1], resolution=12))
    assert finer.image_raw.shape == (12, 12, 3) and finer.image.shape == (16, 16, 3)
    assert finer.depth_z.shape == finer.opacity.shape == (16, 16)


def test_views_do_not_depend_on_how_many_rows_are_rendered_at_once(tiny_semantic_model, latent_scenes, poses, views):
    assert_same_view(render(tiny_semantic_model, latent_scenes, poses, rows_at_once=2), views)


def test_gradients_do_not_depend_on_how_many_rows_are_rendered_at_once(tiny_model, latent_scenes, poses):
    one = without_branch(latent_scenes)[0]

    def gradient(rows):
        def total(planes, camera):
            key, scene = jax.random.key(3), one.replace(planes=planes)
            view = scenes.render(tiny_model, scene, camera, key=key, rows_at_once=rows)
            return jnp.mean(view.image_raw**2)  # what rows are put together to

        return jax.jit(jax.grad(total, argnums=(0, 1)))(one.planes, poses[0])

    for ours, whole in zip(jax.tree.leaves(gradient(2)), jax.tree.leaves(gradient(8)), strict=True):
        assert np.linalg.norm(ours - whole) <= 1e-2 * np.linalg.norm(whole)  # rounding decides where a ray is sampled


def test_rows_are_as_many_as_fit_the_memory(tiny_semantic_model, latent_scenes, poses):
    def fit(views, memory):
        return scenes.rows_that_fit(tiny_semantic_model, 8, views=views, memory=memory)

    assert fit(4, 1e12) == 8
    assert 1 <= fit(4, 2.5e5) < fit(1, 2.5e5) < 8
    assert fit(10**6, 2e6) == 1
    with pytest.raises(ValueError, match="rows_at_once is 3: it must divide the 8 rows"):
        scenes.render(tiny_semantic_model, latent_scenes, poses, rows_at_once=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s, c: scenes.render(m, s, c[:3]), r"scenes \(4,\) and cameras \(3,\) do.*scene\[:, None\], camera"),
        (lambda m, s, c: scenes.render(m, s[0], c[:0]), r"nothing to render: scenes \(\), cameras \(0,\)"),
        (lambda m, s, c: scenes.render(m, np.zeros(8), c), r"array of shape \(8,\) was given .* scene: .*synthesize"),
        (lambda m, s, c: scenes.render(m, s, np.zeros(25)), r"array of shape \(25,\) was given for the camera"),
        (lambda m, s, c: scenes.render(m, s, None), "a NoneType was given for the camera"),
        (lambda m, s, c: scenes.render(m, s.replace(semantic_planes=None), c), "the scene no planes for it"),
        (lambda m, s, c: scenes.render(m, s, c.replace(intrinsics=512 * c.intrinsics)), "Intrinsics must be"),
        (lambda m, s, c: scenes.render(m, s, c, resolution=0), "resolution is 0, expected a positive integer"),
        (lambda m, s, c: scenes.render(m, s, c, resolution=-8), "resolution is -8, expected a positive integer"),
        (lambda m, s, c: scenes.render(m, s, c, resolution=8.0), "resolution is 8.0, expected a positive integer"),
        (lambda m, s, c: scenes.render(m, s, c, rows_at_once=0), "rows_at_once is 0, expected a positive integer"),
        (lambda m, s, c: scenes.render(m, s, c, key=jax.random.PRNGKey(0)), r"key has shape \(\), expected one key"),
        (lambda m, s, c: scenes.synthesize(m, np.zeros((0, 8))), "z must have 8 numbers"),
        (lambda m, s, c: scenes.default_camera(m, yaw=20), "yaw is 20, expected radians"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(call, message, tiny_semantic_model, latent_scenes, poses):
    with pytest.raises(ValueError, match=message):
        call(tiny_semantic_model, latent_scenes, poses)


def test_what_is_static_says_so(tiny_model, latent_scenes, poses):
    plain = without_branch(latent_scenes)[0]
    for name in ("resolution", "rows_at_once"):
        with pytest.raises(ValueError, match=f"{name} is traced, expected a number: .*static_argnames"):
            jax.jit(scenes.render)(tiny_model, plain, poses[0], **{name: 4})


def test_the_planes_of_a_scene_are_not_copied_for_its_views(tiny_model, latent_scenes):
    """Sixteen views of a scene of large planes take no memory for more of them."""
    planes = jax.ShapeDtypeStruct((3, 512, 512, 4), jnp.float32)
    one = jax.eval_shape(lambda scene: without_branch(scene)[0], latent_scenes).replace(planes=planes)
    cameras_ = scenes.default_camera(tiny_model.generator.config, jnp.linspace(-0.3, 0.3, 16))
    compiled = jax.jit(lambda *parts: scenes.render(*parts).image_raw).lower(tiny_model, one, cameras_).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * planes.size


def test_another_latent_or_camera_compiles_nothing(tiny_semantic_model, latent_scenes, poses):
    render(tiny_semantic_model, latent_scenes[0], poses[1])
    compiled = render._cache_size()
    render(tiny_semantic_model, latent_scenes[2], poses[3])
    assert render._cache_size() == compiled


def test_a_branch_with_its_own_density_is_rendered_with_it(
    tiny_semantic_model, latent_scenes, poses, views, random_arrays
):
    branch, config = tiny_semantic_model.semantic, tiny_semantic_model.generator.config
    own = semantic.abstract(dataclasses.replace(branch.config, density_prior=False), config)
    params = branch.params | {"density": random_arrays(own.params, 9)["density"]}
    model = tiny_semantic_model.replace(semantic=own.replace(params=params))
    raw = jax.jit(lambda *parts: scenes.render(*parts).semantic_raw)(model, latent_scenes, poses)
    assert raw.shape == views.semantic_raw.shape and np.abs(raw - views.semantic_raw).max() > 0.01


def test_confidence_is_the_probability_of_the_label(views):
    probability = np.exp(views.logits) / np.exp(views.logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(views.confidence, probability.max(-1), rtol=1e-4)
    assert views.semantic_raw.shape == (4, 8, 8, 5)


def test_normals_have_unit_length_where_there_is_a_surface(views):
    length, solid = np.linalg.norm(views.normal, axis=-1), np.isfinite(views.distance)
    np.testing.assert_allclose(length[solid], 1, atol=1e-3)
    np.testing.assert_array_equal(length[~solid], 0)


def test_views_and_scenes_are_indexed_and_iterated(views, latent_scenes):
    assert len(views) == len(list(views)) == len(latent_scenes) == 4 and views[1:].batch_shape == (3,)
    np.testing.assert_array_equal(views[2].camera.cam2world, views.camera.cam2world[2])
    assert latent_scenes[0].batch_shape == () and "planes=(4, 3, 16, 16, 4)" in repr(latent_scenes)


def test_a_model_says_what_it_is_in_a_line(tiny_model, tiny_semantic_model):
    assert repr(tiny_model).startswith("Model(generator of ") and "\n" not in repr(tiny_semantic_model)
    assert "5 classes" in repr(tiny_semantic_model) and "classes" not in repr(tiny_model)
    count = sum(leaf.size for leaf in jax.tree.leaves(tiny_model.generator.variables["params"]))
    assert f"generator of {count:,} parameters" in repr(tiny_model)
