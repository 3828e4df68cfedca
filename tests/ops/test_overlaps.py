"""How far surfaces are inside of themselves: boxes that go through each other, and bodies as the world finds them."""

import numpy as np

from dnerf_jax.ops import overlaps
from dnerf_jax.worlds.bodies import poses, table

QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.int32([f for a, b, c, d in QUADS for f in ((a, b, c), (a, c, d))])
CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(8, 3).astype(np.float32)


def two_boxes(offset):
    """The share of two boxes of side 1, the second moved by an offset."""
    vertices = np.concatenate([CORNERS, CORNERS + np.float32(offset)])
    return float(overlaps.share_inside(vertices, np.concatenate([FACES, FACES + 8])))


def test_what_is_inside_is_counted():
    assert two_boxes((2, 0.1, 0.2)) == 0
    assert two_boxes((0.5, 0.4, 0.3)) == 2 / 16  # a corner of each in the other
    np.testing.assert_allclose(two_boxes((0.7, 0.6, -0.5)), 2 / 16)
    inner = np.concatenate([CORNERS, 0.5 * CORNERS + 0.2])
    assert overlaps.share_inside(inner, np.concatenate([FACES, FACES + 8])) == 0.5


def test_bodies_are_inside_of_themselves_as_far_as_rays_in_the_world_say():
    stored, draws, found = table.load(), np.random.default_rng(0), []
    for stretched in np.linspace(0.5, 2, 6):
        drawn = poses.rotations({name: stretched * angle for name, angle in poses.angles(draws).items()})
        posed = stored.posed_template(drawn.astype(np.float64))
        found.append((float(overlaps.share_inside(posed, stored.template_faces)), poses.inside(drawn)))
    ours, theirs = np.array(found).T
    assert theirs.max() > 0.05 > theirs.min()
    np.testing.assert_allclose(ours, theirs, atol=0.01)
