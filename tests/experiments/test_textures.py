"""Figure S10: line textures of exact frames, of ours, and of frames with noise of their own."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, textures
from dnerf_jax.io.packs import Annotations
from dnerf_jax.worlds import heads


@pytest.mark.slow
def test_the_figure_compares_with_noise_per_frame(in_small, tiny_semantic_model, tmp_path, monkeypatch):
    asked = []

    def trained(bench, row, *, seed):
        asked.append((row.name, seed))
        return bench.model.replace(semantic=tiny_semantic_model.semantic, label_map=tiny_semantic_model.label_map)

    monkeypatch.setattr(ablations, "trained", trained)
    monkeypatch.setattr(textures, "exact_distance", lambda views: np.full(views.masks.shape, 2.7, np.float32))
    reproduce.main(str(tmp_path), figure="S10")
    assert asked == [("default", 0)]
    found = json.loads((tmp_path / "figureS10.json").read_text())
    assert list(found) == ["exact", "ours", "noise per frame"]
    assert all(0 <= entry["label_agreement"] <= 1 and entry["points"] > 0 for entry in found.values())
    with Image.open(tmp_path / "figureS10.png") as picture:
        assert picture.width > 2 * 3 * 16 and picture.height > 3 * 3 * 3


def test_exact_distance_is_the_worlds():
    z = np.zeros((2, heads.Z_DIM), np.float32) + 0.1
    poses = [heads.orbit(yaw, 0.0) for yaw in (0.0, 20.0)]
    views = Annotations(
        images=np.zeros((2, 16, 16, 3), np.uint8),
        masks=np.zeros((2, 16, 16), np.uint8),
        z=z,
        cam2world=np.stack([pose for pose, _ in poses]),
        intrinsics=np.stack([intrinsics for _, intrinsics in poses]),
        latent_id=[0, 0],
        label_map=heads.LABELS,
        fingerprint="",
        name="two",
    )
    expected = heads.render(heads.build(z[0]), *poses[1], 16).distance
    assert np.any(expected == 0)
    np.testing.assert_array_equal(textures.exact_distance(views)[1], np.where(expected > 0, expected, np.inf))
