"""Conversion of GNARF networks: the body is GNARF's on the user's own model, all else EG3D's; misfits are refused."""

import dataclasses
import functools

import bodies
import foreign
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import dnerf_jax
from converters import eg3d, gnarf, reduced, smpl
from converters.records import Record
from dnerf_jax.io import checkpoints
from dnerf_jax.models import articulated
from dnerf_jax.ops import cameras, poses, skinning
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.skinning import Skeleton


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return bodies.npz(tmp_path_factory.mktemp("template") / "smpl.npz")


@pytest.fixture(scope="module")
def body(template):
    return smpl.read(template)


@pytest.fixture(scope="module")
def converted(body):
    """The model, and what its pickle says of its body."""
    return gnarf.convert(bodies.record(), body)


def parameters(mesh, **changes):
    """The parameters of the canonical body, with a translation; changes are added."""
    whole = {"orient": mesh.pose[0], "pose": mesh.pose[1:].ravel(), "betas": mesh.betas, "moved": mesh.translation}
    return np.concatenate([part + changes.get(name, 0) for name, part in whole.items()])


def released(mesh, body, at):
    """The posed reduced mesh as the released code makes it: the full one is posed, and this rebuilt upon it."""
    vectors, betas, moved = np.split(at, [72, 82])
    turned = smpl.rotations(vectors.reshape(24, 3))
    shaped = body.vertices + np.einsum("s,svi->vi", betas, body.shapes)
    resting = shaped + np.einsum("o,ovi->vi", (turned[1:] - np.eye(3)).ravel(), body.offsets)
    skeleton = Skeleton(jnp.asarray(body.regressor @ shaped, jnp.float32), body.parents)
    bones = skinning.transforms(skeleton, jnp.asarray(turned, jnp.float32))
    full = np.asarray(
        skinning.skin(jnp.asarray(resting, jnp.float32), jnp.asarray(body.weights, jnp.float32), bones)[0]
    )
    return bodies.SCALE * (reduced.rebuilt(mesh, full + moved))


@functools.partial(jax.jit, static_argnums=0)
def ours(config, template, pose):
    return articulated.body(config, template, pose)


def test_all_but_the_body_is_as_of_eg3d(converted):
    model, expected = converted[0], eg3d.convert(tiny.record())
    config = model.generator.config
    assert config.c_dim == 25  # of the label's 108: the body's never reach the mapping
    rendering = dataclasses.replace(expected.generator.config.rendering, metres_per_unit=4, avg_camera_focal=1.7 / 1.5)
    changed = dataclasses.replace(config, articulation=None)
    assert changed == dataclasses.replace(expected.generator.config, rendering=rendering)
    for name in ("params", "buffers"):
        same = jax.tree.map(np.array_equal, model.generator.variables[name], expected.generator.variables[name])
        assert all(jax.tree.leaves(same))
    moves = config.articulation
    assert (
        moves.rule == "vertex" and moves.shell == 0 and moves.bones == smpl.JOINTS and moves.parents == bodies.PARENTS
    )
    assert moves.hull == pytest.approx(bodies.HULL * bodies.SCALE, rel=1e-4)  # as it was made, not as the option says
    wanted = articulated.abstract_template(moves)
    made = model.generator.variables["template"]
    assert {k: (x.shape, x.dtype) for k, x in made.items()} == {k: (x.shape, x.dtype) for k, x in wanted.items()}


def test_the_reduced_mesh_is_the_recorded_one_in_every_pose():
    recorded = np.load(bodies.GOLDEN)
    mesh = reduced.read(bodies.record().child("renderer"))
    for full, small in zip(recorded["template_vertices"], recorded["simple_posed"], strict=True):
        np.testing.assert_allclose(reduced.rebuilt(mesh, full.astype(np.float64)), small * 3.23, atol=1e-6)


def test_the_canonical_body_is_the_released_one(converted, body):
    model, mesh = converted
    config, arrays = model.generator.config.articulation, model.generator.variables["template"]
    expected = released(mesh, body, parameters(mesh))
    made = ours(config, arrays, gnarf.pose(model, parameters(mesh)[:82]))
    for vertices in (made.canonical, made.posed, ours(config, arrays, articulated.still(config, arrays)).canonical):
        np.testing.assert_allclose(vertices, expected, atol=2e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"moved": np.array([0.3, -0.2, 0.1])},
        {"orient": np.array([np.pi, 0.2, 0.0]), "moved": np.array([0.0, 0.0, 1.0])},
        {"betas": np.linspace(-0.2, 0.2, 10)},
    ],
)
def test_bodies_that_are_turned_moved_or_shaped_are_the_released_ones(converted, body, changes):
    model, mesh = converted
    at = parameters(mesh, **changes)
    made = ours(model.generator.config.articulation, model.generator.variables["template"], gnarf.pose(model, at))
    off = np.linalg.norm(made.posed - released(mesh, body, at), axis=-1) / bodies.SCALE
    # A shape is added where it is at rest, and turned with its vertex.
    assert np.quantile(off, 0.9) < 2e-5 if "betas" not in changes else np.quantile(off, 0.9) < 1e-4


def test_bent_bodies_are_the_released_ones_as_far_as_was_measured(converted, body):
    model, mesh = converted
    config, arrays = model.generator.config.articulation, model.generator.variables["template"]
    half, most, every = reduced.deviation(mesh, body, arrays)
    assert half < 1e-3 and half < most < every < 0.1
    worst = np.zeros(config.num_vertices)
    for axis in range(3):
        bend = np.zeros((23, 3))
        bend[17, axis] = np.pi / 3  # the left elbow
        at = parameters(mesh, pose=bend.ravel())
        made = ours(config, arrays, gnarf.pose(model, at)).posed
        off = np.linalg.norm(made - released(mesh, body, at), axis=-1) / bodies.SCALE
        worst = np.maximum(worst, off)
        # The offsets of the pose count, and are there: without, most of the arm is off.
        frozen = gnarf.pose(model, at)
        frozen = frozen.replace(shape=jnp.zeros_like(frozen.shape))
        without = ours(config, arrays, frozen).posed
        assert np.median(np.linalg.norm(without - made, axis=-1)) / bodies.SCALE > 10 * np.median(off)
    assert worst.max() <= every + 1e-5 and np.median(worst) <= half + 1e-5


def test_poses_are_differentiable_and_have_leading_dimensions(converted):
    model, mesh = converted
    many = jnp.asarray(np.stack([parameters(mesh), parameters(mesh, orient=0.3)])[:, None])
    found = gnarf.pose(model, many)
    assert found.batch_shape == (2, 1) and found.shape.shape == (2, 1, 217)
    alone = gnarf.pose(model, many[1, 0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1, 0], b, atol=1e-6), found, alone)
    np.testing.assert_allclose(gnarf.pose(model, many[..., :82]).translation, 0)
    config, arrays = model.generator.config.articulation, model.generator.variables["template"]
    gradient = jax.grad(lambda at: jnp.sum(jnp.square(articulated.body(config, arrays, gnarf.pose(model, at)).posed)))
    found = np.asarray(jax.jit(gradient)(jnp.zeros(85)))
    assert np.isfinite(found).all() and (found != 0).sum() > 60
    with pytest.raises(ValueError, match=r"parameters of shape \(72,\), expected \(..., 82\) or \(..., 85\)"):
        gnarf.pose(model, np.zeros(72))
    with pytest.raises(ValueError, match="no body of GNARF's"):
        gnarf.pose(eg3d.convert(tiny.record()), np.zeros(82))


def test_nothing_of_the_body_model_inside_is_taken(body):
    """Its numbers may be any: what is made is the same, and of the user's file."""
    network, stripped = bodies.record(), bodies.record()
    for part in ("smpl_reduced", "smpl_clip", "surface_field"):
        for path, record in stripped.child(f"renderer.{part}").walk():
            if record.class_name == "SMPL":
                record.attributes = {"_modules": {}}
            if path == "sf" or path.endswith(".sf"):
                record.attributes["_buffers"]["vertices_0"] = np.zeros((7, 3), np.float32)
    (model, _), (other, _) = (gnarf.convert(one, body) for one in (network, stripped))
    assert jax.tree.all(jax.tree.map(np.array_equal, model.generator.variables, other.generator.variables))


def test_the_command_writes_a_checkpoint_that_renders(tmp_path, template, capsys, recwarn):
    path, out = bodies.write(tmp_path / "network.pkl"), tmp_path / "checkpoint"
    gnarf.main(str(path), template=str(template), out=str(out))
    assert not recwarn.list
    printed, model = capsys.readouterr().out, checkpoints.load(out)
    info = dict(model.info)
    assert info["origin"] == "network.pkl" and info["template"] == "smpl.npz" and len(info["template_sha256"]) == 64
    assert "without a licence file" in info["license"] and "non-commercial" in info["template_license"]
    assert "24 bones, 615 vertices, 1226 faces, a unit is 4 m, the hull 5 cm off" in printed
    assert info["template_deviation"] in printed and info["template_license"] in printed

    mesh = reduced.read(bodies.record().child("renderer"))
    pose = gnarf.pose(model, parameters(mesh, orient=np.array([0.0, 0.5, 0.0])))
    scene = jax.jit(dnerf_jax.synthesize)(model, jnp.zeros(4), pose=pose)
    camera = Camera(poses.look_at([0.0, 0.0, 1.5], jnp.mean(scene.body.posed, axis=0)), cameras.pinhole(5.0))
    view = jax.jit(dnerf_jax.render)(model, scene, camera)
    assert view.image.shape == (16, 16, 3) and np.isfinite(np.asarray(view.image)).all()
    assert 0 < np.asarray(view.opacity > 0).mean() < 1


def test_licences_and_another_body_are_told(tmp_path):
    path = bodies.write(tmp_path / "network.pkl")
    other = bodies.pkl(tmp_path / "smpl.pkl", v_template=1.05 * bodies.smpl()["v_template"])
    with pytest.warns(UserWarning, match=f"{other} is another body than the one that {path}.* more than [2-5].. cm"):
        model = gnarf.read_model(path, other, license="CC0, by the author", fov=50.0)
    assert dict(model.info)["license"] == "CC0, by the author"
    assert "non-commercial" in dict(model.info)["template_license"]
    focal = model.generator.config.rendering.avg_camera_focal
    assert focal == eg3d.focal_length(path, 50.0)


def test_templates_of_another_mesh_are_refused(tmp_path, body):
    path, out = bodies.write(tmp_path / "network.pkl"), tmp_path / "checkpoint"
    arrays = bodies.smpl()
    fewer = bodies.npz(tmp_path / "fewer.npz", f=arrays["f"][:-2])
    others = bodies.npz(tmp_path / "others.npz", f=arrays["f"][::-1])
    words = r"the template has 1229 vertices and 2452 faces; the body of the network was made for 1229 and 2454"
    with pytest.raises(ValueError, match=f"{path} on the template {fewer}: {words}"):
        gnarf.main(str(path), template=str(fewer), out=str(out))
    with pytest.raises(ValueError, match="as many faces .*, but others: give the SMPL file that it was trained with"):
        gnarf.main(str(path), template=str(others), out=str(out))
    with pytest.raises(ValueError, match="absent.pkl is not a file: give the path of a SMPL file"):
        gnarf.main(str(path), template=str(tmp_path / "absent.pkl"), out=str(out))
    assert not out.exists()


def test_networks_of_the_other_kind_are_sent_to_their_converter(tmp_path, template):
    with pytest.raises(
        ValueError, match="network.pkl: the network has no body .* it is not GNARF's: try converters.eg"
    ):
        gnarf.read_model(tiny.write(tmp_path / "network.pkl"), template)
    with pytest.raises(ValueError, match="gnarf.pkl: the network is GNARF's.*: convert it by converters.gnarf"):
        eg3d.read_model(bodies.write(tmp_path / "gnarf.pkl"), fov=20.0)
    attack = foreign.Call(foreign.Name("smplx.body_models", "SMPL"), ("/tmp/x",))
    with pytest.raises(ValueError, match="nothing in it was executed: a call of the class SMPL"):
        gnarf.read_model(bodies.write(tmp_path / "attack.pkl", D=attack), template)


def changed(path="", **attributes):
    def change(network):
        (network.child(path) if path else network).attributes.update(attributes)

    return change


def optioned(**options):
    return lambda network: network.get("rendering_kwargs").update(options)


def buffered(path, name, value):
    def change(network):
        buffers = network.child(path).attributes["_buffers"]
        buffers[name] = value(buffers[name]) if callable(value) else value

    return change


def without(path, name):
    return lambda network: network.child(path).attributes["_modules"].pop(name)


REDUCED = "renderer.smpl_reduced"


@pytest.mark.parametrize(
    "change, words",
    [
        (optioned(projector="mvc_grid"), "the projector of rendering_kwargs is 'mvc_grid', expected 'surface_field'"),
        (optioned(warping_mask="cube"), "the warping_mask of rendering_kwargs is 'cube', expected 'mesh'"),
        (optioned(box_warp_pre_deform=True), "box_warp_pre_deform of rendering_kwargs is True, expected False"),
        (optioned(box_warp=None), "box_warp of rendering_kwargs is None"),
        (changed(c_dim=25), "whether the label's 25 numbers are 107 to 111 is False"),
        (changed("backbone.mapping", c_dim=108), "c_dim of backbone.mapping is 108, expected 25"),
        (without("renderer", "surface_field"), "the class of renderer.surface_field is 'object', expected 'SurfaceFie"),
        (
            buffered("renderer", "smpl_avg_betas", lambda x: np.repeat(x, 8, 0)),
            r"betas is .*\(8, 10\).*shape \(1, 10\)",
        ),
        (buffered("renderer", "smpl_avg_scale", lambda x: 0 * x), "smpl_avg_scale is 0.0, expected 0.001 to 1000"),
        (buffered(REDUCED, "weights_2d", lambda x: x * np.nan), "weights_2d is .*, expected finite numbers"),
        (buffered(REDUCED, "weights_2d", lambda x: 2 * x), "weights_2d are not of sum 1"),
        (
            buffered(REDUCED, "nearest_face_id", lambda x: x + 2000),
            "nearest_face_id has numbers that are not from 0 to",
        ),
        (buffered(REDUCED, "proj_dist", None), "proj_dist is None, expected finite numbers"),
        (
            buffered("renderer.surface_field", "v_faces", lambda x: x[::-1]),
            "v_faces are the faces at each vertex is Fal",
        ),
        (changed(REDUCED, v_template=np.zeros((3, 3))), r"v_template of renderer.smpl_reduced is .*\(615, 3\)"),
        (changed("renderer.smpl_clip", v_template=bodies.record().child(REDUCED).get("v_template")), "grown by a few"),
    ],
)
def test_what_a_network_lacks_is_named(body, change, words):
    network = bodies.record()
    change(network)
    with pytest.raises(ValueError, match=words):
        gnarf.convert(network, body)


def test_options_that_a_camera_would_not_fit(body):
    network = bodies.record()
    network.get("rendering_kwargs").update(ray_start=8.0, ray_end=12.0, box_warp=2.0)
    rendering = gnarf.configuration(network).rendering
    assert rendering.avg_camera_radius == 10 and rendering.avg_camera_focal == 5


def test_the_largest_super_resolution_is_gnarfs_alone(body):
    network = bodies.record()
    module = network.child("superresolution")
    module.class_name = "SuperresolutionHybrid16X"
    module.attributes["input_resolution"] = 256
    network.attributes["img_resolution"] = 1024
    config = gnarf.configuration(network).superresolution
    assert config.resolutions == (512, 1024) and config.upsample == (True, True) and not config.resize_larger
    plain = Record(network.class_name, tiny.record().attributes | {"img_resolution": 1024})
    plain.attributes["_modules"] = plain.attributes["_modules"] | {"superresolution": module}
    with pytest.raises(ValueError, match="is 'SuperresolutionHybrid16X', expected 'SuperresolutionHybrid8XDC' or"):
        eg3d.config_from(plain)
