"""The cameras of a dataset's identities in space, with viser's server and without a browser."""

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory.cards import samples
from dnerf_jax.factory.cards.space_page import SpacePage
from dnerf_jax.viz.live import page

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    with page.opened("a dataset", 0) as opened:
        yield opened


def controls(server):
    return {handle.label: handle for handle in server.gui._gui_input_handle_from_uuid.values()}


def test_cameras_stand_where_their_views_were_seen_from(server, tiny_dataset):
    data = factory.load(tiny_dataset)
    shown = SpacePage(server, data)
    found = controls(server)
    for place in (0, 3):
        found["Identity"].value = place
        shown.draw()
        nodes = server.scene._handle_from_node_name
        records = samples.views(data, place)
        assert "/solid" in nodes and sum(name.startswith("/cameras/") for name in nodes) == len(records)
        for record in records:
            node = nodes[f"/cameras/{record['view']}"]
            camera = page.camera_of(node.wxyz, node.position, node.fov)
            np.testing.assert_allclose(camera.cam2world, record["cam2world"], atol=1e-5)
            np.testing.assert_allclose(camera.intrinsics, record["intrinsics"], rtol=1e-5)


def test_what_there_is_can_be_chosen(server, tiny_dataset):
    shown = SpacePage(server, factory.load(tiny_dataset, only=["image", "mask"]))
    found = controls(server)
    assert found["Cameras show"].options == ("image", "mask", "nothing")
    assert found["In the middle"].options == ("points", "nothing")
    found["In the middle"].value = "nothing"
    shown.draw()
    assert "/solid" not in server.scene._handle_from_node_name


def test_a_dataset_without_pictures_is_refused(server, tiny_dataset):
    with pytest.raises(ValueError, match=r"has no pictures to show"):
        SpacePage(server, factory.load(tiny_dataset, only=[]))
