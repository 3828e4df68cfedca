"""What a page's controls ask for is what the generator makes."""

import jax
import numpy as np
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.ops.images import to_uint8
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.viz.live import sight
from dnerf_jax.viz.live.sight import Sight, Wanted


@pytest.fixture(scope="module")
def seen(small_model):
    return Sight(small_model, reach=40.0)


@pytest.fixture(scope="module")
def camera(tiny_config):
    return scenes.default_camera(tiny_config, 0.2, 0.1)


@pytest.mark.slow
def test_a_view_is_the_library_s(seen, camera):
    model = seen.model
    z = jax.random.normal(jax.random.key(3), (8,), "float32")
    expected = jax.jit(lambda z: scenes.render(model, scenes.synthesize(model, z, truncation_psi=0.5), camera))(z)
    fine = seen.look(Wanted(seed=3, truncation=0.5), camera, fine=True)
    np.testing.assert_allclose(fine.image, expected.image, atol=0.02)
    assert (fine.mask == np.asarray(expected.mask)).mean() > 0.98
    coarse = seen.look(Wanted(seed=3, truncation=0.5), camera, fine=False)
    assert coarse.image.shape == (4, 4, 3) and coarse.mask.shape == coarse.confidence.shape == (4, 4)
    opacity = np.asarray(coarse.opacity).reshape(4, 4, 4, 4)
    empty, full = opacity.max((1, 3)) < 0.4, opacity.min((1, 3)) > 0.6
    assert empty.any() and not coarse.mask[empty].any() and coarse.mask[full].any()

    for kind in (*sight.PICTURES, *sight.OF_BRANCH):
        for view in (fine, coarse):
            picture = sight.picture(model, view, kind)
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3, kind
    np.testing.assert_array_equal(sight.picture(model, fine, "image"), to_uint8(fine.image, span=(-1, 1)))
    np.testing.assert_array_equal(sight.picture(model, fine, "mask"), model.label_map.colorize(fine.mask))

    ends = [seen.look(wanted, camera, fine=False).image for wanted in (Wanted(seed=3), Wanted(seed=4))]
    mixed = [seen.look(Wanted(3, 4, mix), camera, fine=False).image for mix in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(mixed[0], ends[0], atol=1e-6)
    np.testing.assert_allclose(mixed[2], ends[1], atol=1e-4)
    assert np.abs(mixed[1] - ends[0]).max() > 1e-3


@pytest.mark.slow
def test_a_scene_that_was_found_stands_for_the_first_seed(small_model, seen, camera):
    ws = scenes.to_ws(small_model.generator, jax.random.normal(jax.random.key(3), (8,), "float32"))
    given = Sight(small_model, ws, reach=40.0)
    assert given.given and not seen.given
    found, expected = (each.look(Wanted(seed=3), camera, fine=False).image for each in (given, seen))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"\(2,\) scenes, and a page shows one"):
        Sight(small_model, np.stack([ws, ws]), reach=40.0)


@pytest.mark.slow
def test_the_cloud_is_made_once_and_has_the_classes_colours(seen):
    cloud = seen.solid(Wanted(seed=3), "cloud")
    assert isinstance(cloud, PointCloud) and len(cloud) and cloud is seen.solid(Wanted(seed=3), "cloud")
    np.testing.assert_array_equal(sight.colors_of(cloud, True), cloud.label_map.colorize(cloud.labels))
    np.testing.assert_array_equal(sight.colors_of(cloud, False), cloud.colors)


def test_what_there_is_to_show(tiny_model, seen):
    assert Sight(tiny_model, reach=40.0).kinds() == ("image", "depth", "normals", "cloud", "mesh")
    assert set(sight.OF_BRANCH) < set(seen.kinds())
    assert seen.num_poses == 0
