"""Plans: splits of exact proportions that growth does not move, shards of whole identities, and what is refused."""

import dataclasses
import itertools

import pytest

from dnerf_jax.factory import plan as plans
from dnerf_jax.factory.plan import Plan, Viewpoints, range_of, shards, split_of, split_sizes
from dnerf_jax.io import schema

SPLITS = [
    (("train", 8), ("validation", 1), ("test", 1)),
    (("train", 7), ("validation", 2), ("test", 1)),
    (("only", 3),),
    (("a", 3), ("b", 3), ("c", 1), ("d", 5)),
    (("a", 80), ("b", 20)),
]


@pytest.mark.parametrize("splits", SPLITS)
def test_splits_have_their_proportions_at_every_size(splits):
    total = sum(part for _, part in splits)
    for number in [*range(1, 61), 1000, 999_983]:
        sizes = split_sizes(Plan(num_identities=number, splits=splits))
        assert sum(sizes.values()) == number
        for name, part in splits:
            assert abs(sizes[name] - number * part / total) < 1
            if number * part % total == 0:
                assert sizes[name] == number * part // total


@pytest.mark.parametrize("splits", SPLITS)
def test_every_identity_is_in_one_split_and_stays_there(splits):
    small, large = (Plan(num_identities=number, splits=splits) for number in (37, 205))
    members = {name: list(range_of(large, name)) for name, _ in splits}
    assert sorted(itertools.chain(*members.values())) == list(range(205))
    for name, identities in members.items():
        assert identities == sorted(identities)
        assert all(split_of(large, identity) == split_of(small, identity) == name for identity in identities)
        assert list(range_of(small, name)) == [identity for identity in identities if identity < 37]


def test_ranges_of_millions_are_sequences_without_memory():
    members = range_of(Plan(num_identities=10_000_000), "test")
    assert len(members) == 1_000_000
    last = members[len(members) - 1]
    assert last in members and members.index(last) == 999_999
    assert last + 1 not in members and -1 not in members and 10_000_006 not in members
    for wrong in (-1, 1_000_000):
        with pytest.raises(IndexError):
            members[wrong]
    with pytest.raises(ValueError, match="identity 1 is not in this split"):
        members.index(1)


def test_shards_hold_whole_identities_of_one_split():
    plan = Plan(num_identities=205, shard_size=30)
    made = list(shards(plan))
    assert len(made) == plans.num_shards(plan) == 8
    assert [shard.name for shard in made[-3:]] == ["train-000005", "validation-000000", "test-000000"]
    assert sorted(itertools.chain(*(shard.identities for shard in made))) == list(range(205))
    for shard in made:
        assert len(shard.identities) <= 30
        assert {split_of(plan, identity) for identity in shard.identities} == {shard.split}


def test_growth_changes_the_last_shard_of_a_split_only():
    small, large = (
        {shard.name: shard.identities for shard in shards(Plan(num_identities=number, shard_size=5))}
        for number in (83, 140)
    )
    changed = [name for name, identities in small.items() if large[name] != identities]
    assert changed == ["train-000013", "validation-000001", "test-000001"]
    assert all(large[name][: len(small[name])] == small[name] for name in changed)


def test_a_plan_comes_back_from_json():
    plan = Plan(viewpoints=Viewpoints("fixed", fixed=((1.0, 2.0),) * 4), drops=plans.Drops(min_area=(("eye", 0.001),)))
    assert schema.as_dataclass(schema.as_json(plan), Plan) == plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": ()}, "splits are .*expected different names"),
        ({"splits": (("train", 1), ("train", 2))}, "expected different names"),
        ({"splits": (("../up", 1),)}, "expected different names"),
        ({"splits": (("All", 1),)}, "all and none mean something else to readers"),
        ({"splits": (("a", 9_999), ("b", 2))}, "sum to more than 10,000"),
        ({"modalities": ("mask",)}, "expected image and others"),
        ({"modalities": ("image", "mask", "mask")}, "each once"),
        ({"viewpoints": Viewpoints("fixed", fixed=((0.0, 0.0),))}, "1 cameras, views_per_identity is 4"),
    ],
)
def test_what_fits_no_dataset_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Plan(), **changes)


def test_viewpoints_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="give both, or none"):
        Viewpoints("fixed")
    with pytest.raises(ValueError, match="give both, or none"):
        Viewpoints(fixed=((0.0, 0.0),))
    with pytest.raises(ValueError, match="all are"):
        Viewpoints("fixed", fixed=((0.0, 0.0), (0.0,) * 25))
    with pytest.raises(ValueError, match="there is no split 'dev'"):
        range_of(Plan(), "dev")
    with pytest.raises(ValueError, match=r"plan\.modalities\[1\] is 'masks'; did you mean 'mask'"):
        schema.as_dataclass({"modalities": ["image", "masks"]}, Plan, "plan")


def test_rules_that_no_view_can_keep_are_refused():
    with pytest.raises(ValueError, match="min_area is larger than max_area of eye: no view can have both"):
        plans.Drops(min_area=(("eye", 0.5), ("hair", 0.1)), max_area=(("eye", 0.2),))


def test_without_a_branch_there_are_no_labels():
    plan = Plan(modalities=(*plans.VIEWS, *plans.OBJECTS)).without_labels()
    assert plan.view_modalities == ("image", "depth_z", "distance", "normal", "opacity")
    assert set(plan.modalities) - set(plan.view_modalities) == {"points", "mesh"}
