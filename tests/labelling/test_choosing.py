"""What to label: far from one another and from what is there, evenly over the yaws, doubts of a branch."""

import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.labelling import choosing


def test_farthest_points_are_spread_and_keep_away_from_those_given(generator):
    points = generator.standard_normal((60, 5))
    chosen = choosing.farthest(points, 8)
    assert len(set(chosen.tolist())) == 8
    assert chosen[0] == np.argmin(np.linalg.norm(points - points.mean(0), axis=1))
    for i in range(1, 8):  # each by definition
        nearest = np.linalg.norm(points[:, None] - points[chosen[:i]], axis=-1).min(1)
        assert nearest[chosen[i]] == pytest.approx(nearest.max())
    others = choosing.farthest(points, 4, given=points[chosen])
    assert not set(others.tolist()) & set(chosen.tolist())
    nearest = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(1)
    assert others[0] == np.argmax(nearest)
    assert sorted(choosing.farthest(points[:3], 3)) == [0, 1, 2]
    assert sorted(choosing.farthest(np.zeros((3, 2)), 3)) == [0, 1, 2], "of points at one place each is chosen once"
    with pytest.raises(ValueError, match="4 of 3 candidates"):
        choosing.farthest(points[:3], 4)


def test_yaws_cover_the_reach_evenly(generator):
    one = choosing.yaws(30, 1, 30.0, generator)[:, 0]
    assert (np.floor((np.sort(one) + 30) / 2).astype(int) == np.arange(30)).all(), "one in every thirtieth"
    assert (np.diff(one) < 0).any(), "not from left to right with the latents"
    three = choosing.yaws(10, 3, 30.0, generator)
    assert (three[:, 0] < -10).all() and (abs(three[:, 1]) <= 10).all() and (three[:, 2] > 10).all()


def test_doubt_is_the_entropy_of_the_most_uncertain_tenth():
    logits = np.zeros((2, 10, 10, 4))
    logits[..., 0] = 50.0  # sure
    logits[1, 0, :, 0] = 0.0  # a tenth of the second picture knows nothing
    np.testing.assert_allclose(choosing.doubt(jnp.asarray(logits)), [0, np.log(4)], atol=1e-5)
