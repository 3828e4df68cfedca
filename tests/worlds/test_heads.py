"""The heads world: what its renders promise about frame, labels, depth, determinism and continuity."""

import pathlib
import re

import numpy as np
import pytest

from dnerf_jax.worlds import heads
from dnerf_jax.worlds.heads import attributes
from dnerf_jax.worlds.heads import table as head_table

RESOLUTION = 96
NAMES = [attribute.name for attribute in attributes.ATTRIBUTES]
EAR, NOSE, EYE, HAIR = (heads.LABELS.names.index(name) for name in ("ear", "nose", "eye", "hair"))


def latent(seed):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(heads.Z_DIM)


def with_attribute(z, name, value):
    """The latent with one normalised-scale dimension replaced."""
    z = z.copy()
    z[NAMES.index(name)] = value
    return z


@pytest.fixture(scope="module")
def head():
    return heads.build(with_attribute(latent(0), "hair_length", -0.5))  # short hair: the ears are free


def world_points(view, cam2world, intrinsics):
    """World points (H, W, 3) of a view's depth_z, from the definition of the camera."""
    resolution = view.depth_z.shape[0]
    centre = (np.arange(resolution) + 0.5) / resolution
    x = (centre[None, :] - intrinsics[0, 2]) / intrinsics[0, 0] * view.depth_z
    y = (centre[:, None] - intrinsics[1, 2]) / intrinsics[1, 1] * view.depth_z
    return np.stack([x, y, view.depth_z], -1) @ cam2world[:3, :3].T + cam2world[:3, 3]


def test_same_latent_gives_same_bytes_and_another_does_not():
    cam2world, intrinsics = heads.orbit(12, 5)
    first, second = (heads.render(heads.build(latent(3)), cam2world, intrinsics, 64) for _ in range(2))
    for name in ("image", "mask", "depth_z", "distance", "alpha"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    other = heads.render(heads.build(latent(4)), cam2world, intrinsics, 64)
    assert (other.image != first.image).mean() > 0.05


def test_scale_of_the_latent_does_not_matter():
    z = latent(5)
    a, b = attributes.attributes(z), attributes.attributes(3 * z)
    np.testing.assert_allclose([a[name] for name in a], [b[name] for name in a], atol=1e-6)


def test_attributes_are_monotone_and_within_their_ranges():
    for dimension, attribute in enumerate(attributes.ATTRIBUTES):
        z = with_attribute(np.ones(heads.Z_DIM), "gender", -1.0)  # stubble only grows on men
        values = []
        for value in (-3.0, -1.0, 0.0, 1.0, 3.0):
            z[dimension] = value
            values.append(attributes.attributes(z)[attribute.name])
        assert np.all(np.diff(values) >= 0) and values[-1] > values[0], attribute.name
        if attribute.name not in ("melanin", "hair_lightness", "greyness", "stubble"):
            assert attribute.low <= values[0] and values[-1] <= attribute.high, attribute.name


def test_the_table_of_attributes_in_the_docs_is_the_code_s():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "heads_world.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\S+) to (\S+) \|", text, re.M)
    stated = [(int(i), name, float(low), float(high)) for i, name, low, high in rows]
    assert stated == [(i, x.name, x.low, x.high) for i, x in enumerate(attributes.ATTRIBUTES)]


def test_no_local_change_is_driven_by_two_attributes():
    labels = [label for group in attributes.SHAPE_GROUPS.values() for label in group]
    assert len(labels) == len(set(labels))


def test_phenotype_corners_sum_to_one_and_match_the_table():
    a = attributes.attributes(latent(6))
    coefficients = attributes.shape_coefficients(a)
    table = head_table.load()
    corners = len(coefficients) - len(attributes.signed_sides())
    assert coefficients.shape == (len(table.shapes),) and corners == 54
    np.testing.assert_allclose(coefficients[:corners].sum(), 1, atol=1e-6)
    assert (coefficients >= 0).all()


def test_frontal_face_looks_to_positive_z(head):
    cam2world, intrinsics = heads.orbit(0, 0)
    np.testing.assert_allclose(cam2world[:3, 3], [0, 0, 2.7], atol=1e-6)
    view = heads.render(head, cam2world, intrinsics, RESOLUTION)
    points = world_points(view, cam2world, intrinsics)
    nose, ears, eyes = (points[view.mask == label] for label in (NOSE, EAR, EYE))
    assert len(nose) > 20 and len(ears) > 10 and len(eyes) > 4
    assert nose[:, 2].max() > eyes[:, 2].max() > ears[:, 2].max()
    assert eyes[:, 1].mean() > nose[:, 1].mean()  # y is up
    assert abs(eyes[:, 0].mean()) < 0.01 and abs(nose[:, 0].mean()) < 0.01


def test_subjects_left_is_positive_x(head):
    """Gaze to the subject's left turns both pupils to +x; a camera at yaw > 0 sees only the left ear."""
    mesh = [
        heads.build(with_attribute(latent(0), "gaze_side", value)).vertices[: len(head_table.load().mean)]
        for value in (-3.0, 3.0)
    ]
    table = head_table.load()
    pupils = (table.group == head_table.EYE) & (table.eye_direction[:, 2] > 0.97)
    assert ((mesh[1] - mesh[0])[pupils, 0] > 0).all()
    cam2world, intrinsics = heads.orbit(35, 0)
    assert cam2world[0, 3] > 0
    view = heads.render(head, cam2world, intrinsics, RESOLUTION)
    ears = world_points(view, cam2world, intrinsics)[view.mask == EAR]
    assert len(ears) > 10 and (ears[:, 0] > 0).all()


def test_all_geometry_lies_in_the_box_and_the_frame_is_filled():
    for seed in range(6):
        head = heads.build(with_attribute(latent(seed), "hair_length", (-2, 0, 2)[seed % 3]))
        used = head.vertices[np.unique(head.faces)]
        assert np.abs(used).max() <= heads.BOX
        assert 0.3 < head.metres_per_unit < 0.7
        view = heads.render(head, *heads.orbit(0, 0), 64)
        assert view.alpha[0].max() == 0 and view.alpha[-1, 24:40].min() == 1  # air above, bust below
        assert 0.3 < view.alpha.mean() < 0.8


def test_background_is_white_and_empty():
    view = heads.render(heads.build(latent(7)), *heads.orbit(-20, 4), 64)
    empty = view.alpha == 0
    assert empty.mean() > 0.2
    assert (view.image[empty] == 255).all()
    assert (view.mask[empty] == 0).all() and (view.depth_z[empty] == 0).all()
    assert ((view.mask > 0) == (view.depth_z > 0)).all()


def test_depth_lies_on_the_mesh_and_distance_is_along_the_ray(head):
    cam2world, intrinsics = heads.orbit(-15, 8)
    view = heads.render(head, cam2world, intrinsics, 48)
    hit = view.depth_z > 0
    points = world_points(view, cam2world, intrinsics)[hit]
    np.testing.assert_allclose(view.distance[hit], np.linalg.norm(points - cam2world[:3, 3], axis=1), atol=1e-5)
    vertices = head.vertices[np.unique(head.faces)]
    edges = head.vertices[head.faces]
    longest = np.linalg.norm(edges - np.roll(edges, 1, axis=1), axis=-1).max()
    nearest = np.array([np.sqrt(((vertices - point) ** 2).sum(1).min()) for point in points[::7]])
    assert nearest.max() < longest and np.median(nearest) < 0.01
    # Another trace, straight at the back-projected points, meets the surface there.
    origin = np.float32([0.2, 0.3, 2.5])
    towards = (points - origin).astype(np.float32)
    reached = head.bvh.run(np.tile(origin, (len(points), 1)), towards, output=True)["tfar"]
    on_surface = np.abs(reached - 1) < 1e-3  # the others are hidden from there
    assert on_surface.mean() > 0.85 and (reached < 1 + 1e-3).mean() > 0.98


@pytest.mark.slow
def test_labels_agree_between_views():
    agreed, compared = 0, 0
    for seed in (1, 2, 8):
        head = heads.build(latent(seed))
        (camera_a, intrinsics), (camera_b, _) = heads.orbit(-18, 0), heads.orbit(14, 6)
        a = heads.render(head, camera_a, intrinsics, RESOLUTION)
        fine = RESOLUTION * 8
        b = heads.render(head, camera_b, intrinsics, fine, samples=1)
        points = world_points(a, camera_a, intrinsics)[a.mask > 0]
        seen = (points - camera_b[:3, 3]) @ camera_b[:3, :3]
        u = seen[:, :2] / seen[:, 2:] * intrinsics[0, 0] + 0.5
        column, row = np.clip((u * fine).astype(int), 0, fine - 1).T
        inside = ((u > 0) & (u < 1)).all(1)
        visible = inside & (np.abs(b.depth_z[row, column] - seen[:, 2]) < 2e-3)
        agreed += (b.mask[row, column] == a.mask[a.mask > 0])[visible].sum()
        compared += visible.sum()
    assert compared > 5000
    assert agreed / compared >= 0.99


def test_small_steps_in_the_latent_change_the_image_little():
    for seed in (9, 10):
        z, direction = latent(seed), latent(seed + 100)
        views = [heads.render(heads.build(z + step * direction), *heads.orbit(8, 2), 64) for step in (0, 1e-3, 0.3)]
        near, far = (np.abs(view.image.astype(float) - views[0].image).mean() for view in views[1:])
        assert near < 0.4 and far > 10 * near  # of 255


def test_hair_grows_from_none_through_zero_to_long():
    shares, lowest = [], []
    for value in (-6.0, -1.5, 0.0, 0.6, 2.0):
        z = with_attribute(latent(11), "hair_length", value)
        hair = heads.render(heads.build(z), *heads.orbit(25, 5), 64).mask == HAIR
        shares.append(hair.mean())
        lowest.append(np.flatnonzero(hair.any(1)).max(initial=0))
    assert shares[0] == 0 and np.all(np.diff(shares[:4]) > 0.01), shares
    assert np.all(np.diff(lowest) >= 0) and lowest[-1] > lowest[2] + 10, lowest


def test_what_stands_off_the_skin_is_hair():
    """Every point of the shell well above the skin is labelled hair, whatever the wave, volume and fringe."""
    for seed in range(4):
        z = latent(40 + seed)
        for name, value in (("hair_length", 0.3 + 0.4 * seed), ("hair_wave", 2.0), ("hair_volume", 2.0)):
            z = with_attribute(z, name, value)
        head = heads.build(z)
        body = len(head_table.load().mean)
        skin, shell = head.vertices[:body], head.vertices[body:]
        share = head.fields[body:, 3]
        away = np.array([np.min(np.sum((skin - point) ** 2, axis=1)) ** 0.5 for point in shell[::11]])
        used = np.isin(np.arange(body, len(head.vertices)), np.unique(head.faces))[::11]
        high = used & (away * head.metres_per_unit > 0.012)
        assert high.sum() > 20 and (share[::11][high] > 0.5).all()


@pytest.mark.parametrize(
    "name, value", [("hair_wave", 2.5), ("hair_wavelength", 2.0), ("hair_volume", 2.5), ("fringe", 2.5)]
)
def test_the_style_of_hair_changes_its_silhouette_or_its_front(name, value):
    z = with_attribute(with_attribute(latent(12), "hair_length", 0.6), "hair_wave", 1.5)
    before, after = (
        heads.render(heads.build(with_attribute(z, name, level)), *heads.orbit(0, 0), RESOLUTION)
        for level in (-value, value)
    )
    hair = (before.mask == HAIR, after.mask == HAIR)
    assert (hair[0] ^ hair[1]).sum() > 0.02 * hair[0].sum()
    if name == "fringe":
        assert np.flatnonzero(hair[1][:, 48]).max() > np.flatnonzero(hair[0][:, 48]).max() + 3


def test_the_head_throws_its_shadow_away_from_the_light(head):
    """With the light from the subject's left, the neck below the jaw is darker on the right."""
    dark = []
    for value in (-3.0, 3.0):
        lit = heads.build(with_attribute(with_attribute(latent(0), "hair_length", -0.5), "light_side", value))
        view = heads.render(lit, *heads.orbit(0, 0), RESOLUTION)
        neck = view.mask == heads.LABELS.names.index("neck")
        column = np.arange(RESOLUTION)[None] + 0 * neck
        right, left = (view.image[neck & part].mean() for part in (column < 40, column > 56))
        dark.append(right - left)
    # The subject's left (+x) is on the image's right in a frontal view.
    assert dark[0] > 10 and dark[1] < -10, dark


def test_every_class_appears():
    found = np.zeros(heads.LABELS.num_classes, int)
    for seed in range(8):
        view = heads.render(heads.build(latent(seed)), *heads.orbit(0, 0), RESOLUTION, samples=1)
        found += np.bincount(view.mask.ravel(), minlength=heads.LABELS.num_classes)
    assert (found > 0).all(), dict(zip(heads.LABELS.names, found, strict=True))


@pytest.mark.parametrize("z", [np.zeros(51), np.zeros((1, 52)), np.full(52, np.nan), np.zeros(52, complex)])
def test_wrong_latents_are_refused(z):
    with pytest.raises(ValueError, match=r"^z: expected"):
        heads.build(z)


def test_wrong_cameras_are_refused(head):
    cam2world, intrinsics = heads.orbit(0, 0)
    with pytest.raises(ValueError, match="cam2world: expected"):
        heads.render(head, cam2world[:3], intrinsics, 32)
    with pytest.raises(ValueError, match="intrinsics: expected"):
        heads.render(head, cam2world, np.ones(9), 32)
    with pytest.raises(ValueError, match="at least 1"):
        heads.render(head, cam2world, intrinsics, 0)


def test_missing_or_foreign_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"worlds\.heads\.export"):
        head_table.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match="not a heads table"):
        head_table.load(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(head_table.PATH.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a heads table"):
        head_table.load(tmp_path / "broken.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": np.zeros((5952, 3), np.float32)}, r"corners has the shape \(54, 5953, 3\), expected \(K, V, 3\)"),
        ({"mean": np.zeros(3, np.float32)}, r"mean has the shape \(3,\)"),
        ({"canonical": np.full((5953, 3), np.nan, np.float32)}, "canonical .* not finite"),
        ({"faces": np.full((11718, 3), 5953, np.uint16)}, "faces names number 5953 of 5953"),
        ({"group": np.zeros(5953, np.uint8)}, "the groups are"),
        ({"fields": np.zeros((5953, 7), np.uint8)}, "fields is of uint8"),
    ],
)
def test_a_table_whose_parts_do_not_fit_is_refused(changes, message, tmp_path):
    with np.load(head_table.PATH) as stored:
        np.savez(tmp_path / "table.npz", **(dict(stored) | changes))
    with pytest.raises(ValueError, match=f"table.npz is not a heads table.*{message}"):
        head_table.load(tmp_path / "table.npz")


def test_missing_embree_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "embreex", None)
    with pytest.raises(ImportError, match=r"dnerf_jax\[worlds\]"):
        heads.build(latent(0))
