"""Rendering identities: only what is wanted, each in its place of a full group, and drawn anew where a rule says so."""

import dataclasses

import jax
import numpy as np
import pytest

from dnerf_jax.factory import draws, render
from dnerf_jax.factory.plan import Drops, Plan
from dnerf_jax.models import scenes
from dnerf_jax.ops.labels import LabelMap

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan():
    """Three identities of two views, in groups of two; with what rules look at, too, so that there is one program."""
    modalities = ("image", "mask", "depth_z", "confidence")
    return Plan(num_identities=3, views_per_identity=2, batch=2, modalities=modalities)


@pytest.fixture(scope="module")
def made(plan, tiny_semantic_model):
    """Identities 0 to 2, rendered."""
    return list(render.render(plan, tiny_semantic_model, (0, 1, 2)))


def test_views_are_those_of_the_drawn_latents_and_cameras(plan, made, tiny_semantic_model):
    assert [found.identity for found, _ in made] == [0, 1, 2] and not any(drops for _, drops in made)
    for found, _ in made:
        z, camera = draws.draw(plan, tiny_semantic_model.generator.config, found.identity)
        np.testing.assert_array_equal(found.z, z)
        np.testing.assert_array_equal(found.views.camera.cam2world, camera.cam2world)
    z, camera = draws.draw(plan, tiny_semantic_model.generator.config, 2)
    scene = jax.jit(scenes.synthesize)(tiny_semantic_model, z)
    alone = jax.jit(scenes.render)(tiny_semantic_model, scene, camera[1])
    np.testing.assert_allclose(made[2][0].views.image[1], alone.image, atol=1e-4)


def test_what_nobody_wants_is_not_there(made):
    views = made[0][0].views
    assert views.logits is None and views.normal is None and views.points is None
    assert views.image.shape == (2, 16, 16, 3) and views.mask.shape == (2, 16, 16)


def test_again_in_the_same_place_is_the_same_to_the_bit(plan, made, tiny_semantic_model):
    again = render.render_group(plan, tiny_semantic_model, (9, 1), (0, 0))[1]
    np.testing.assert_array_equal(again.views.image, made[1][0].views.image)
    np.testing.assert_array_equal(again.views.depth_z, made[1][0].views.depth_z)


def test_identities_that_break_a_rule_are_drawn_anew(plan, made, tiny_semantic_model):
    label_map = tiny_semantic_model.label_map
    shares = [np.mean(found.views.mask == 4, axis=(1, 2)).max() for found, _ in made]
    limit = float(np.sort(shares)[-2:].mean())  # so that the largest is too large
    ruled = dataclasses.replace(plan, drops=Drops(max_area=((label_map.names[4], limit),)))
    found = list(render.render(ruled, tiny_semantic_model, (0, 1, 2)))
    worst = int(np.argmax(shares))
    for place, (kept, drops) in enumerate(found):
        assert kept.identity == place and kept.attempt == len(drops)
        assert bool(drops) == (place == worst)
        assert np.mean(kept.views.mask == 4, axis=(1, 2)).max() <= limit
        for attempt, drop in enumerate(drops):
            assert (drop.identity, drop.attempt, drop.rule) == (place, attempt, "max_area hair") and drop.value > limit
    kept, _ = found[worst]
    z, _ = draws.draw(plan, tiny_semantic_model.generator.config, worst, kept.attempt)
    np.testing.assert_array_equal(kept.z, z)


def test_a_rule_that_drops_everything_stops_the_run(plan, tiny_semantic_model):
    ruled = dataclasses.replace(plan, drops=Drops(min_confidence=1.0, attempts=2))
    with pytest.raises(ValueError, match="identity 0 was dropped 2 times, by min_confidence.*loosen the rules"):
        next(render.render(ruled, tiny_semantic_model, (0, 1)))


def view(tiny_view, **changes):
    return dataclasses.replace(tiny_view, **changes)


def test_every_rule_measures_what_it_says(made):
    views = made[0][0].views
    label_map = LabelMap(("background", "skin", "eye"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    opacity = np.zeros((1, 4, 4))
    opacity[0, 0, :3] = 1
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, :2, :2] = 2
    confidence = np.full((1, 4, 4), 0.1)
    confidence[0, 0, :3] = 0.8
    one = view(views[:1], opacity=opacity, mask=mask, confidence=confidence)

    def broken(**rules):
        return render.broken_rule(Drops(**rules), one, label_map)

    assert broken() is None
    assert broken(max_border_opacity=0.25) is None
    assert broken(max_border_opacity=0.2) == (0, "max_border_opacity", 0.25)  # 3 of the 4 x 4 border, corners twice
    assert broken(min_confidence=0.79) is None
    assert broken(min_confidence=0.9) == (0, "min_confidence", pytest.approx(0.8))
    assert broken(min_area=(("eye", 0.25),), max_area=(("eye", 0.25),)) is None
    assert broken(min_area=(("skin", 0.01),)) == (0, "min_area skin", 0.0)
    assert broken(max_area=(("background", 0.5),)) == (0, "max_area background", 0.75)
    with pytest.raises(ValueError, match="drops names the classes nose: expected some of background, skin, eye"):
        broken(min_area=(("nose", 0.1),))
    with pytest.raises(ValueError, match="no semantic branch: train one first"):
        render.broken_rule(Drops(min_confidence=0.1), view(one, mask=None), None)


def test_images_that_are_not_finite_are_no_data(plan, tiny_semantic_model):
    generator = tiny_semantic_model.generator
    params = dict(generator.variables["params"])
    params["superresolution"] = jax.tree.map(lambda x: x * np.nan, params["superresolution"])
    variables = {**generator.variables, "params": params}
    broken = tiny_semantic_model.replace(generator=generator.replace(variables=variables))
    with pytest.raises(ValueError, match="identity 0 has an image that is not finite"):
        next(render.render(plan, broken, (0, 1)))
