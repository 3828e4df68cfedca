"""What is frozen for the training of a branch: samples, patches, the weights of classes, and the memory of all that."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training import frozen

pytestmark = pytest.mark.slow  # all render or train


def test_a_patch_is_a_part_of_its_view_and_of_its_labels(known):
    views = jnp.array([4, 4, 1])
    whole = frozen.choose(known["every"], views)
    part = frozen.choose(known["every"], views, patch=3, key=jax.random.key(1))
    points, weights = whole.selected.points, whole.selected.weights
    grid, scale = points.shape[1], whole.masks.shape[1] // points.shape[1]
    corners = set()
    for i in range(len(views)):
        places = [
            (row, column)
            for row in range(grid - 2)
            for column in range(grid - 2)
            if np.array_equal(points[i, row : row + 3, column : column + 3], part.selected.points[i])
        ]
        (row, column) = places[0]
        corners.add((row, column))
        rows, columns = (slice(scale * x, scale * (x + 3)) for x in (row, column))
        np.testing.assert_array_equal(part.masks[i], whole.masks[i, rows, columns])
        np.testing.assert_array_equal(part.selected.weights[i], weights[i, row : row + 3, column : column + 3])
    assert len(corners) > 1
    np.testing.assert_array_equal(part.latent, whole.latent)


def test_patches_need_a_key(known):
    with pytest.raises(ValueError, match="Patches lie at random: pass a key"):
        frozen.choose(known["every"], jnp.array([0]), patch=3)


def test_rare_classes_count_more_where_that_is_asked_for():
    masks = np.array([[0] * 90 + [1] * 10 + [255] * 7], np.uint8)
    np.testing.assert_allclose(frozen.class_weights(masks, 3, 0.5), [1, 3, 90**0.5], rtol=1e-6)
    np.testing.assert_array_equal(frozen.class_weights(masks, 3, 0.0), 1)


def test_few_samples_keep_the_opacity(known):
    few, every = (np.asarray(known[name].selected.weights) for name in ("few", "every"))
    assert few.shape[-1] == 6 < every.shape[-1] == 12
    np.testing.assert_allclose(few.sum(-1), every.sum(-1), rtol=1e-4, atol=1e-6)
    heaviest = np.sort(every, axis=-1)[..., ::-1][..., : few.shape[-1]]
    share = heaviest / np.maximum(heaviest.sum(-1, keepdims=True), 1e-8)
    np.testing.assert_allclose(few, share * every.sum(-1, keepdims=True), rtol=1e-3, atol=1e-5)


def test_views_share_the_features_of_their_latent_and_known_samples_are_kept(branch_settings, known, loaded, tiny_pack):
    np.testing.assert_array_equal(known["few"].latent, [0, 0, 0, 1, 1, 1])
    assert {len(scale) for scale in known["few"].features} == {2}
    again = frozen.freeze(branch_settings.semantic, loaded, tiny_pack[:6], selected=known["every"].selected)
    assert again.selected is known["every"].selected
    jax.tree.map(np.testing.assert_array_equal, again.features, known["few"].features)
    np.testing.assert_array_equal(again.class_weights, 1)


def test_scenes_are_truncated_as_the_pack_says(branch_settings, loaded, tiny_pack):
    whole = tiny_pack[[0, 3]]  # two latents from one camera
    average = dataclasses.replace(whole, truncation_psi=0.0)
    made = [frozen.freeze(branch_settings.semantic, loaded, pack) for pack in (average, whole)]
    for same, parts in zip((True, False), made, strict=True):
        for array in jax.tree.leaves((parts.features, parts.selected)):
            assert np.array_equal(array[0], array[1]) == same


@pytest.mark.parametrize("name", ["every", "own density"])
def test_the_memory_that_is_announced_is_taken(branch_settings, known, loaded, name):
    there, prior = known[name], name == "every"
    form = dataclasses.replace(branch_settings.semantic, density_prior=prior, samples_kept=12)
    assert (there.selected.weights is not None) == prior
    taken = sum(x.nbytes for x in jax.tree.leaves((there.features, there.selected, there.masks)))
    latents = len(there.features[0])
    assert latents < len(there.latent)
    assert frozen.frozen_bytes(form, loaded, latents, len(there.latent)) == taken
