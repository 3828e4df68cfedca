"""Which rays of a view are drawn: told by an image whose colours are its rows and columns; and what they show."""

import numpy as np
import pytest

from dnerf_jax.ops import cameras
from dnerf_jax.training.pretraining import batches, stages
from dnerf_jax.worlds import heads

SIZE = 128


class Shards(list):
    """Identities with one view each: a disc of skin on the right, a small mouth in it, a quarter of nothing."""

    intrinsics = np.array([[4, 0, 0.5], [0, 4, 0.5], [0, 0, 1]], np.float32)

    def __init__(self, count):
        row, column = np.mgrid[:SIZE, :SIZE]
        self.off = np.hypot(row - 64, column - 76) - 36  # pixels outside of the disc
        self.mouth = (abs(row - 64) < 3) & (abs(column - 76) < 5)
        mask = np.where(self.mouth, heads.LABELS.names.index("mouth"), heads.LABELS.names.index("skin"))
        one = {
            "z": np.zeros(heads.Z_DIM, np.float32),
            "cam2world": np.eye(4, dtype=np.float32)[None],
            "image": np.stack([row, column, 0 * row], axis=-1)[None].astype(np.uint8),
            "mask": np.where(self.off <= 0, mask, 0)[None].astype(np.uint8),
            "alpha": np.where(self.off <= 0, 255, 0)[None].astype(np.uint8),
            "distance": np.where(self.off <= 0, 2.7, 0)[None].astype(np.float16),
        }
        super().__init__([one] * count)


@pytest.fixture(scope="module")
def drawn():
    """The views, and how often each pixel of all views was drawn, 1 on average."""
    shards = Shards(60)
    batch = batches.rays(
        shards, np.arange(60), np.random.default_rng(0), 512, SIZE, [heads.LABELS.names.index("mouth")]
    )
    row, column = np.round(batch.rgb[..., :2] * 255).astype(int).reshape(-1, 2).T
    counts = np.zeros((SIZE, SIZE))
    np.add.at(counts, (row, column), 1)
    return shards, counts / counts.mean()


@pytest.mark.slow
def test_both_sides_of_a_silhouette_are_drawn_alike(drawn):
    shards, often = drawn
    outside = often[(shards.off > 0) & (shards.off < batches.NEAR / 2)].mean()
    inside = often[(shards.off <= 0) & (shards.off > -batches.NEAR / 2)].mean()
    assert outside == pytest.approx(inside, rel=0.1)


def test_the_surroundings_of_what_is_small_are_drawn_as_often_as_itself_and_oftener_than_others(drawn):
    shards, often = drawn
    row, column = np.mgrid[:SIZE, :SIZE]
    around = (abs(row - 64) < 6) & (abs(column - 76) < 8) & ~shards.mouth
    assert often[around].mean() == pytest.approx(often[shards.mouth].mean(), rel=0.15)
    assert often[shards.mouth].mean() > 2 * often[(shards.off < -5) & (shards.off > -15)].mean()


def test_few_rays_are_far_from_everything(drawn):
    shards, often = drawn
    assert 0 < often[shards.off > 2 * batches.NEAR].mean() < 0.3


def test_rays_reach_their_own_pixels_at_the_distance_of_the_render(pretraining, rendered):
    grid = pretraining.generator.neural_rendering_resolution
    size = pretraining.data.resolution // grid
    assert size == 2
    batch = stages.ray_batch(pretraining, rendered, 1)
    solid = passing = 0
    for i, z in enumerate(batch.z):
        entry = next(rendered[j] for j in range(len(rendered)) if np.array_equal(rendered[j]["z"], z))
        positions = np.asarray(entry["cam2world"])[:, :3, 3]
        for ray in range(pretraining.rays_per_identity):
            origin, direction = batch.rays.origins[i, ray], batch.rays.directions[i, ray]
            view = int(np.argmin(np.linalg.norm(positions - origin, axis=-1)))
            camera = cameras.Camera(entry["cam2world"][view], rendered.intrinsics)
            distance, guide = batch.distance[i, ray], batch.guide[i, ray]
            uv, _ = cameras.project(camera, (origin + (distance or 1.0) * direction)[None])
            place = np.asarray(uv[0])[::-1] * grid - 0.5
            row, column = np.round(place).astype(int)
            np.testing.assert_allclose(place, (row, column), atol=1e-3)
            within = view, slice(size * row, size * (row + 1)), slice(size * column, size * (column + 1))
            np.testing.assert_allclose(batch.rgb[i, ray], entry["image"][within].mean((0, 1)) / 255, atol=1e-6)
            np.testing.assert_allclose(batch.alpha[i, ray], entry["alpha"][within].mean() / 255, atol=1e-6)
            found = entry["distance"][within].astype(np.float32)
            if not found.any():
                assert distance == 0
                reach = [(size * x - batches.NEAR, size * x + batches.NEAR + 1) for x in (row, column)]
                near = tuple(slice(max(first, 0), stop) for first, stop in reach)
                assert guide == 0 or guide in entry["distance"][view][near]
                passing += guide > 0
            else:
                assert guide == distance
                found = found[found > 0]
                together = np.ptp(found) < batches.JUMP
                assert distance == pytest.approx(found.mean() if together else found.min(), abs=1e-6)
                solid += 1
    assert solid > 4 and passing > 0
