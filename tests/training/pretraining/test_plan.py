"""What a pretraining run is to do: its stages, the size of its planes, and what its steps do not see."""

import dataclasses


def test_planes_are_refined_in_the_first_stage_and_whole_afterwards(pretraining):
    generators = dataclasses.replace(pretraining.generator, plane_resolution=16)
    settings = dataclasses.replace(pretraining, generator=generators, refine_at=(2, 5), steps=7)
    assert [settings.plane_resolution(step) for step in range(1, 10)] == [4, 4, 8, 8, 8, 16, 16, 16, 16]
    # Without a first stage there is nothing to refine.
    assert dataclasses.replace(settings, steps=0).plane_resolution(1) == 16


def test_stages_follow_each_other(pretraining):
    assert (pretraining.steps, pretraining.ray_steps, pretraining.total_steps) == (3, 5, 7)


def test_runs_that_differ_in_what_a_step_does_not_see_have_the_same_steps(pretraining):
    changes = {"seed": 3, "start_from": "folder", "save_every": 7, "sheet_every": 8}
    assert dataclasses.replace(pretraining, **changes).of_step == pretraining.of_step
    assert hash(dataclasses.replace(pretraining, **changes).of_step) == hash(pretraining.of_step)
    for name in ("learning_rate", "color_weight", "guide_spread", "ema_decay"):
        other = dataclasses.replace(pretraining, **{name: 0.123})
        assert other.of_step != pretraining.of_step
