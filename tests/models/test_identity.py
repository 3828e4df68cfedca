"""Faces found by five points: chips are similarities, descriptors tell the embedded heads apart, all differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import dnerf_jax
from dnerf_jax.io import arrays, files, loss_networks
from dnerf_jax.models import identity
from dnerf_jax.models.identity import LANDMARKS, IdentityConfig
from dnerf_jax.networks.arcface import ArcFaceConfig
from dnerf_jax.networks.face_descriptor import FaceDescriptorConfig

POINTS = (
    ("left_eye", 22.0, 10.0),
    ("right_eye", 9.0, 11.0),
    ("nose_tip", 16.0, 17.0),
    ("left_mouth", 21.0, 24.0),
    ("right_mouth", 11.0, 25.0),
)
PLACES = np.array([place for _, *place in POINTS], np.float32)
SMALL = {
    "dlib": FaceDescriptorConfig(widths=(2, 4), depths=(1, 1), features=5),
    "arcface": ArcFaceConfig(widths=(4, 8), depths=(1, 1), reduction=2, features=5),
}


@pytest.fixture(params=SMALL)
def network(request):
    arcface = request.param == "arcface"
    return identity.init(
        IdentityConfig(SMALL[request.param], 32, POINTS, (0.0,) * 3, (1.0,) * 3, arcface), jax.random.key(0)
    )


@pytest.fixture
def anyone():
    return identity.abstract(IdentityConfig(SMALL["dlib"], 32, POINTS, (0.0,) * 3, (1.0,) * 3, False))


# Compiled as wholes: operation by operation takes many times as long.
align = jax.jit(identity.align, static_argnames="samples")
describe, distance = jax.jit(identity.describe), jax.jit(identity.distance)


def smooth(x, y):
    """An image's colours at places in pixels, linear, so that bilinear sampling is exact."""
    return np.stack([x / 40 - 1, y / 40 - 1, (x - y) / 80], axis=-1)


def picture(height=64, width=80):
    return smooth(*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))


def turned(angle, scale, move):
    """The network's points, turned about the image's origin, scaled and moved."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return PLACES @ np.array([[c, s], [-s, c]]) + np.array(move)


def test_chips_are_cut_out_turned_and_scaled(anyone):
    angle, scale, move = 0.3, 1.2, (20.0, 8.0)
    chip = align(anyone, picture(), turned(angle, scale, move))
    x, y = np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    at = np.stack([c * x - s * y + move[0], s * x + c * y + move[1]])
    inside = (at[0] > 1) & (at[0] < 79) & (at[1] > 1) & (at[1] < 63)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(chip[inside], smooth(*at)[inside], atol=1e-5)


def test_points_need_not_fit_exactly_and_edges_are_repeated(anyone):
    near = PLACES + 0.3 * np.random.default_rng(1).standard_normal((5, 2))
    assert np.abs(align(anyone, picture(), near) - picture()[:32, :32]).mean() < 0.02
    beyond = align(anyone, picture(), PLACES - 100.0)
    np.testing.assert_allclose(beyond, np.broadcast_to(picture()[0, 0], (32, 32, 3)), atol=1e-6)


def test_chips_of_a_batch_are_each_ones_own(anyone):
    images = np.stack([picture(), -picture()])
    points = np.stack([turned(0.1 * i, 1.0, (9.0, 5.0)) for i in range(3)])
    chips = align(anyone, images[:, None], points)
    assert chips.shape == (2, 3, 32, 32, 3)
    np.testing.assert_allclose(chips[1, 2], align(anyone, images[1], points[2]), atol=1e-6)


def test_large_faces_are_averaged(anyone):
    fine = np.tile(np.array([-1.0, 1.0], np.float32)[None, :, None], (64, 32, 3))  # columns, black and white
    points = 2.0 * PLACES
    assert np.abs(align(anyone, fine, points, samples=2)).max() < 1e-5
    assert np.abs(align(anyone, fine, points + np.array([0.5, 0.0], np.float32))).min() > 0.9


def test_descriptors_and_distances(network):
    chips = jax.random.uniform(jax.random.key(2), (2, 3, 32, 32, 3), minval=-1.0)
    who = np.asarray(describe(network, chips))
    assert who.shape == (2, 3, 5)
    np.testing.assert_allclose(who[1, 2], describe(network, chips[1, 2]), atol=1e-5)
    if network.config.unit:
        np.testing.assert_allclose(np.linalg.norm(who, axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(distance(who[0], who[1]), np.linalg.norm(who[0] - who[1], axis=-1), rtol=1e-5)
    assert not jax.jit(jax.grad(distance))(who[0, 0], who[0, 0]).any()


def test_all_of_it_is_differentiable(network):
    def loss(image, points):
        return jnp.sum(identity.describe(network, identity.align(network, image, points)))

    for gradient in jax.jit(jax.grad(loss, argnums=(0, 1)))(picture(), PLACES + 5.0):
        assert jnp.isfinite(gradient).all() and gradient.any()


def test_what_does_not_fit_is_refused(anyone):
    with pytest.raises(ValueError, match="chips has shape"):
        identity.describe(anyone, np.zeros((30, 30, 3)))
    with pytest.raises(ValueError, match="points has shape"):
        identity.align(anyone, picture(), PLACES[:4])
    with pytest.raises(ValueError, match="dimensions that do not fit"):
        identity.align(anyone, np.stack([picture()] * 2), np.stack([PLACES] * 3))
    with pytest.raises(ValueError, match="there are 4 points"):
        IdentityConfig(SMALL["dlib"], 32, POINTS[:4], (0.0,) * 3, (1.0,) * 3, False)
    camera = dnerf_jax.cameras.orbit(0.0, 0.0)
    with pytest.raises(ValueError, match="'left_eye'"):
        identity.points_of(anyone, camera, 256, landmarks={"nose_tip": (0.0, 0.0, 0.0)})


def test_landmarks_are_projected(anyone):
    points = identity.points_of(anyone, dnerf_jax.cameras.orbit(jnp.array([0.0, 0.4]), 0.0), 256)
    assert points.shape == (2, 5, 2)
    np.testing.assert_allclose(points[0, 0] + points[0, 1], (256.0, 2 * points[0, 0, 1]), rtol=1e-5)  # the eyes
    assert points[1, 2, 0] < points[0, 2, 0]  # from the subject's left the nose points to the image's left


@pytest.mark.slow
def test_landmarks_are_where_the_heads_worlds_masks_have_them():
    """On random heads, exact frontal masks lifted by their depth: the means of LANDMARKS are within their spread."""
    pytest.importorskip("embreex")
    from dnerf_jax.worlds import heads

    eye, nose, lips = heads.LABELS.names.index("eye"), heads.LABELS.names.index("nose"), (5, 6)
    found: dict[str, list] = {}
    for seed in range(8):
        head = heads.build(np.random.default_rng(seed).standard_normal(heads.Z_DIM))
        cam2world, intrinsics = heads.orbit(0.0, 0.0)
        view = heads.render(head, cam2world, intrinsics, 256, samples=1)
        camera = dnerf_jax.cameras.Camera(jnp.asarray(cam2world), jnp.asarray(intrinsics))
        points = np.asarray(dnerf_jax.points.backproject(jnp.asarray(view.depth_z), camera))
        eyes, mouth = points[view.mask == eye], points[np.isin(view.mask, lips)]
        left = eyes[eyes[:, 0] > 0]
        found.setdefault("left_eye", []).append(left.mean(0))
        found.setdefault("left_eye_inner", []).append(left[np.argmin(left[:, 0])])
        found.setdefault("left_eye_outer", []).append(left[np.argmax(left[:, 0])])
        found.setdefault("left_mouth", []).append(mouth[np.argmax(mouth[:, 0])])
        found.setdefault("right_mouth", []).append(mouth[np.argmin(mouth[:, 0])])
        tip = points[view.mask == nose]
        found.setdefault("nose_tip", []).append(tip[np.argmax(tip[:, 2])])
        middle = tip[np.abs(tip[:, 0]) < 0.008]
        found.setdefault("nose_base", []).append(middle[np.argmin(middle[:, 1])])
    for name, places in found.items():
        np.testing.assert_allclose(np.mean(places, axis=0), LANDMARKS[name], atol=0.015, err_msg=name)


def test_the_embedded_network_tells_heads_apart():
    """True views of four heads, three of each: the nearest descriptor of every view is another view of its head."""
    network, pack = loss_networks.load_identity(), files.ASSETS / "heads_train"
    views = arrays.load_arrays(pack / "views.npz")
    assert [views["latent_id"][i] for i in range(12)] == [i // 3 for i in range(12)]
    camera = dnerf_jax.cameras.Camera(jnp.asarray(views["cam2world"][:12]), jnp.asarray(views["intrinsics"][:12]))
    pictures = [np.asarray(Image.open(pack / "images" / f"{i:04d}.png")) for i in range(12)]
    image = dnerf_jax.images.from_uint8(np.stack(pictures))
    chips = align(network, image, identity.points_of(network, camera, image.shape[-2]))
    who = np.asarray(describe(network, chips))
    distances = distance(who[:, None], who[None]) + 9.0 * np.eye(12)
    assert (np.argmin(distances, axis=1) // 3 == np.arange(12) // 3).all()
