"""Exact clouds lie on the world's surface, with its labels, and no background."""

import numpy as np

from dnerf_jax.worlds import clouds, heads


def test_a_scan_has_the_points_that_are_asked_for_on_the_surface():
    z = np.random.default_rng(3).standard_normal(heads.Z_DIM).astype(np.float32)
    poses = [heads.orbit(yaw, 0.0) for yaw in (-20.0, 20.0)]
    cloud = clouds.scan(heads, z, poses, 48, voxel_size=0.005, num_points=100)
    assert len(cloud) == 100 and cloud.label_map == heads.LABELS and cloud.labels.min() > 0
    vertices = heads.build(z).vertices
    apart = np.sqrt(((cloud.points[:, None] - vertices[None]) ** 2).sum(-1)).min(1)
    assert np.median(apart) < 0.02  # a triangle's size
