"""Identities out of their files: as they were rendered, and again the same; other checkpoints are refused by name."""

import dataclasses

import numpy as np
import pytest

from dnerf_jax.factory import description, draws, render
from dnerf_jax.factory.checks import rerendering
from dnerf_jax.factory.plan import shards
from dnerf_jax.io import checkpoints

pytestmark = pytest.mark.slow


def test_what_is_stored_is_read_and_rendered_again(tiny_dataset, tiny_plan, tiny_checkpoint):
    model, shard = checkpoints.load(tiny_checkpoint), list(shards(tiny_plan))[1]
    sidecars = rerendering.read_sidecars(tiny_dataset, tiny_plan, shard)
    assert list(sidecars) == ["data", "clouds"]
    for place, (first, _) in enumerate(render.render(tiny_plan, model, shard.identities)):
        stored = rerendering.read_identity(tiny_dataset, tiny_plan, sidecars, place)
        z, camera = draws.draw(tiny_plan, model.generator.config, shard.identities[place])
        assert (stored.identity, stored.attempt) == (shard.identities[place], 0)
        np.testing.assert_array_equal(stored.z, z)
        np.testing.assert_array_equal(stored.camera.cam2world, camera.cam2world)
        np.testing.assert_array_equal(stored.camera.intrinsics, camera.intrinsics)
        assert list(stored.objects) == ["points"] and stored.objects["points"].startswith(b"ply")
        assert [sample["view"] for sample in stored.samples] == [0, 1] and len(stored.views) == 2
        (again,) = rerendering.render_again(tiny_plan, model, [stored])
        for name in ("image", "mask", "depth_z", "logits", "normal"):
            np.testing.assert_array_equal(getattr(again.views, name), getattr(first.views, name))


def test_groups_that_are_not_full_are_filled(tiny_dataset, tiny_plan, tiny_checkpoint, monkeypatch):
    """In a plan of larger groups the places of others are taken by the last one, as when they were made."""
    plan = dataclasses.replace(tiny_plan, batch=3)
    sidecars = rerendering.read_sidecars(tiny_dataset, tiny_plan, next(shards(tiny_plan)))
    group = [rerendering.read_identity(tiny_dataset, tiny_plan, sidecars, place) for place in (0, 1)]
    called = []
    monkeypatch.setattr(render, "rerender", lambda *arguments: called.append(arguments))
    rerendering.render_again(plan, None, group)
    ((_, _, identities, attempts, z, camera, *_),) = called
    assert (identities, attempts, z.shape, camera.batch_shape) == ([0, 2], [0, 0], (3, 8), (3, 2))
    np.testing.assert_array_equal(z[1], z[2])
    np.testing.assert_array_equal(camera.cam2world[2], group[1].camera.cam2world)


def test_other_checkpoints_are_refused_generator_and_branch_apart(
    tiny_dataset, tiny_model, tiny_semantic_model, random_arrays, tmp_path
):
    read = description.read(tiny_dataset)
    rerendering.require_checkpoint(read, tiny_semantic_model, tiny_dataset)
    branch = tiny_semantic_model.semantic
    other = tiny_semantic_model.replace(semantic=branch.replace(params=random_arrays(branch.params, 7)))
    for model in (other, tiny_model):
        with pytest.raises(ValueError, match="of another semantic branch .* though the generator is the same.*relabel"):
            rerendering.require_checkpoint(read, model, tiny_dataset)
        rerendering.require_generator(read, model, tiny_dataset)
    generator = tiny_model.generator
    other = tiny_semantic_model.replace(
        generator=dataclasses.replace(generator, variables=random_arrays(generator.variables, 7))
    )
    with pytest.raises(ValueError, match="of another generator .* Name the one that made it: 'random numbers'"):
        rerendering.require_checkpoint(read, other, tiny_dataset)
    checkpoints.save(tmp_path / "other", other)
    with pytest.raises(ValueError, match="of another generator"):
        rerendering.drawn(tiny_dataset, str(tmp_path / "other"))
