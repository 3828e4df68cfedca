"""Checks: numbers that are known are looked at, traced ones pass, and messages say what was meant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import checks


def test_numbers_are_known_unless_traced():
    np.testing.assert_array_equal(checks.known((1, jnp.float32(2))), [1, 2])
    seen = []
    jax.eval_shape(lambda x: seen.append(checks.known((0.0, x))), 1.0)
    jax.grad(lambda x: seen.append(checks.known(x)) or x)(1.0)
    assert seen == [None, None]


@pytest.mark.parametrize("value", [0, -3, 1.0, "4", True, None, np.float32(2)])
def test_counts_are_positive_integers(value):
    with pytest.raises(ValueError, match="rows is .*, expected a positive integer"):
        checks.count("rows", value)
    assert checks.count("rows", np.int64(3)) == 3


def test_shapes_are_compared_at_the_end():
    checks.shape("points", np.zeros((5, 2, 3)), 2, 3)
    checks.shape("points", [0.0, 1.0, 2.0], 3)
    for value in (np.zeros((3, 2)), np.zeros(3), 1.0):
        with pytest.raises(ValueError, match=r"points has shape .*, expected \(\.\.\., 2, 3\)"):
            checks.shape("points", value, 2, 3)


def test_positive_numbers_angles_and_focal_lengths():
    checks.positive("side", [1, 2])
    checks.angle("yaw", np.float32(np.pi / 2), np.pi / 2)
    checks.focal("focal", 4.2647)
    for value in (0, -1, np.nan, np.inf, [1, 0]):
        with pytest.raises(ValueError, match="side is .*, expected a positive number"):
            checks.positive("side", value)
    with pytest.raises(ValueError, match=r"yaw is 90, expected radians from -1.571 to 1.571: .*jnp.radians\(90\)"):
        checks.angle("yaw", [0.1, 90], np.pi / 2)
    with pytest.raises(ValueError, match="focal is 512, expected a focal length in image sizes"):
        checks.focal("focal", 512)
