"""Default cameras are EG3D's: of every model in the table of docs/cameras.md, against the published formula."""

import re
from pathlib import Path

import numpy as np
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.models.generator import GeneratorConfig, RenderingConfig

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "cameras.md"
# As in the pickles' rendering_kwargs, and the focal lengths of the training labels.
PUBLISHED = {
    "ffhq512-128": (2.7, (0, 0, 0.2), 4.2647),
    "ffhqrebalanced512-64": (2.7, (0, 0, 0.2), 4.2647),
    "ffhqrebalanced512-128": (2.7, (0, 0, 0.2), 4.2647),
    "afhqcats512-128": (2.7, (0, 0, -0.06), 4.2647),
    "shapenetcars128-64": (1.7, (0, 0, 0), 1.025390625),
}


def table():
    """The rows of the document: name, then numbers, lists where there are several in a cell."""
    for name, cells in re.findall(r"^\| `([\w-]+)`[^|]* \|(.*)\|$", DOCUMENT.read_text(), re.MULTILINE):
        yield name, [[float(x) for x in re.findall(r"-?[\d.]+", cell)] for cell in cells.split("|")]


def config_of(radius, pivot, focal):
    options = RenderingConfig(avg_camera_radius=radius, avg_camera_pivot=tuple(pivot), avg_camera_focal=focal)
    return GeneratorConfig(rendering=options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_default_cameras_are_the_published_ones(name):
    radius, pivot, focal = PUBLISHED[name]
    for yaw, pitch in [(0.0, 0.0), (0.4, -0.2), (-0.4, 0.3)]:
        camera = scenes.default_camera(config_of(*PUBLISHED[name]), yaw, pitch)
        # LookAtPoseSampler at horizontal = pi / 2 + yaw, in float64.
        theta, v = np.pi / 2 + yaw, np.pi / 2 * (1 - np.sin(pitch)) / np.pi
        phi = np.arccos(1 - 2 * v)
        position = [np.sin(phi) * np.cos(np.pi - theta), np.cos(phi), np.sin(phi) * np.sin(np.pi - theta)]
        position = radius * np.array(position)
        forward = (np.array(pivot) - position) / np.linalg.norm(np.array(pivot) - position)
        np.testing.assert_allclose(camera.cam2world[:3, 3], position, atol=1e-6)
        np.testing.assert_allclose(camera.cam2world[:3, 2], forward, atol=1e-6)
        assert abs(camera.cam2world[1, 0]) < 1e-6 and camera.cam2world[1, 1] < 0
        np.testing.assert_allclose(camera.intrinsics, [[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], atol=1e-6)


def test_the_table_in_the_docs_is_right():
    rows = dict(table())
    assert set(rows) == {*PUBLISHED, "heads"}
    for name, (radius, pivot, position, focal, fov, _side) in rows.items():
        if name in PUBLISHED:
            assert (radius[0], tuple(pivot), focal[0]) == PUBLISHED[name]
        camera = scenes.default_camera(config_of(radius[0], pivot, focal[0]))
        np.testing.assert_allclose(camera.cam2world[:3, 3], position, atol=1e-6)
        assert round(2 * np.degrees(np.arctan(0.5 / focal[0])), 1) == fov[0]


def test_a_model_a_generator_and_a_configuration_have_one(tiny_model):
    expected = scenes.default_camera(tiny_model.generator.config, 0.3)
    for source in (tiny_model, tiny_model.generator):
        np.testing.assert_array_equal(scenes.default_camera(source, 0.3).cam2world, expected.cam2world)
