"""From the state of the controls to what is asked for and sent, with viser's server and without a browser."""

from types import SimpleNamespace

import numpy as np
import pytest

from dnerf_jax import view
from dnerf_jax.models import scenes
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.viz.live import page
from dnerf_jax.viz.live.scene_page import ScenePage
from dnerf_jax.viz.live.sight import Sight, Wanted

GREY = (244, 244, 244)


class Known(Sight):
    """A sight that renders nothing, and remembers what it was asked."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = []

    def look(self, wanted, camera, *, fine):
        self.asked.append((wanted, camera, fine))
        size = 8 if fine else 4
        empty = np.zeros((size, size))
        return SimpleNamespace(image=np.ones((size, size, 3)), mask=empty.astype(np.uint8), camera=camera)

    def solid(self, wanted, kind):
        self.asked.append((wanted, kind))
        if kind == "mesh":
            raise ImportError("meshes need it: pip install dnerf_jax[meshes]")
        return PointCloud(np.zeros((3, 3)), np.zeros((3, 3), np.uint8), np.zeros(3, np.uint8))


@pytest.fixture
def server():
    with page.opened("a scene", 0) as opened:
        yield opened


@pytest.fixture
def client(tiny_config):
    """A tab at the generator's default camera, twice as wide as it is high, that keeps what it is sent."""
    wxyz, position, fov = page.aim_of(scenes.default_camera(tiny_config, 0.9))
    sent = []
    return SimpleNamespace(
        client_id=1,
        camera=SimpleNamespace(wxyz=wxyz, position=position, fov=fov, image_width=80, image_height=40),
        scene=SimpleNamespace(set_background_image=lambda picture, **_: sent.append(picture)),
        sent=sent,
    )


def controls(shown):
    """The page's controls by their names."""
    handles = shown._server.gui._gui_input_handle_from_uuid.values()
    return {handle.label: handle for handle in handles}


def test_the_page_is_this_machine_s_alone(server):
    assert server.get_host() == "127.0.0.1"


def test_what_controls_say_is_what_is_drawn(server, client, tiny_semantic_model, tiny_config):
    seen = Known(tiny_semantic_model, reach=40.0)
    shown = ScenePage(server, seen)
    shown._told[1] = told = SimpleNamespace(content="")
    found = controls(shown)
    assert {"Show", "Seed", "Other seed", "Mix", "Truncation", "Zoom"} <= set(found) and "Pose" not in found
    assert shown.wanted() == Wanted(seed=0, other=1, mix=0.0, truncation=1.0, pose=0)
    for name, value in (("Seed", 5), ("Other seed", 6), ("Mix", 0.25), ("Truncation", 0.7), ("Show", "mask")):
        found[name].value = value
    shown.draw(client, fine=True)
    ((wanted, camera, fine),) = seen.asked
    assert wanted == Wanted(5, 6, 0.25, 0.7) and fine
    np.testing.assert_allclose(camera.cam2world, scenes.default_camera(tiny_config, 0.9).cam2world, atol=1e-6)
    (picture,) = client.sent
    assert picture.shape == (8, 16, 3)
    np.testing.assert_array_equal(picture[:, 4:12], tiny_semantic_model.label_map.colorize(np.zeros((8, 8), np.uint8)))
    assert (picture[:, :4] == GREY).all()
    assert "52° from frontal: beyond 40°" in told.content and "8 x 8 pixels" in told.content


def test_a_solid_is_made_when_the_page_rests_and_once(server, client, tiny_semantic_model):
    seen = Known(tiny_semantic_model, reach=40.0)
    shown = ScenePage(server, seen)
    shown._told[1] = told = SimpleNamespace(content="")
    show = controls(shown)["Show"]
    show.value = "cloud"
    shown.draw(client, fine=False)
    assert not seen.asked
    for _ in range(2):
        shown.draw(client, fine=True)
    assert seen.asked == [(Wanted(), "cloud")] and client.sent[-1] is None and "3 points" in told.content
    show.value = "mesh"
    shown.draw(client, fine=True)
    assert "pip install dnerf_jax[meshes]" in told.content
    assert "/solid" not in server.scene._handle_from_node_name
    show.value = "image"
    shown.draw(client, fine=False)
    assert client.sent[-1].shape == (4, 8, 3)


def test_tabs_begin_at_the_generator_s_camera(server, tiny_model, tiny_config):
    shown = ScenePage(server, Known(tiny_model, np.zeros((14, 16)), reach=40.0))
    start, camera = server.initial_camera, scenes.default_camera(tiny_config)
    np.testing.assert_allclose(start.position, camera.cam2world[:3, 3])
    assert 0.5 / np.tan(start.fov / 2) == pytest.approx(float(camera.intrinsics[0, 0]))
    assert "Seed" not in controls(shown), "a scene that was found has none"


@pytest.mark.parametrize("given", [{}, {"dataset": "a", "scene": "b"}, {"dataset": "a", "checkpoint": "heads"}])
def test_one_thing_is_looked_at(given):
    with pytest.raises(ValueError, match="give one of --checkpoint, --scene"):
        view.main(**given)


@pytest.mark.parametrize("given", [{"out": "a"}, {"out": "a", "checkpoint": "heads"}, {"out": "a", "dataset": "b"}])
def test_files_are_of_a_scene(given):
    with pytest.raises(ValueError, match="--out is for files of a scene"):
        view.main(**given)
