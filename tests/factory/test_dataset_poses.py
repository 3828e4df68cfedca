"""Datasets of bodies: which poses they take and keep, what a resumed one is, and what is refused before it is begun."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dnerf_jax import cli, factory
from dnerf_jax.factory import description, draws, exporting, poses, render, shards
from dnerf_jax.factory.checks import comparison, relabelling, rerendering, verification
from dnerf_jax.factory.plan import Plan, Poses
from dnerf_jax.factory.runs import engines, estimate, running
from dnerf_jax.factory.runs.work import Job, Worker
from dnerf_jax.io import checkpoints, files, pose_files
from dnerf_jax.models import articulated
from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.models.generator import Generator
from tests.factory import forging

BODY = ArticulationConfig(("root", "upper"), (-1, 0), 8, 12, hull=0.1, shell=0.3)
OWN = 3  # poses that the checkpoint has
PLAN = Plan(
    num_identities=4,
    views_per_identity=2,
    splits=(("train", 3), ("test", 1)),
    modalities=("image", "mask", "depth_z", "points"),
    shard_size=2,
)


def turns(count, reach=0.8):
    """Poses (count,) of the upper half, turned more and more."""
    angles = np.linspace(-reach, reach, count)
    rotations = np.tile(np.eye(3), (count, 2, 1, 1))
    rotations[:, 1] = Rotation.from_rotvec(angles[:, None] * [0, 0, 1]).as_matrix()
    others = np.zeros((count, 3)), np.ones(count), np.zeros((count, 0))
    return Pose(*(np.float32(x) for x in (rotations, *others)))


def posable(model, num_poses=0):
    """The model in a box of two bones: the upper half turns about the middle."""
    corners = np.stack(np.meshgrid([-0.2, 0.2], [-0.4, 0.4], [-0.15, 0.15], indexing="ij"), -1).reshape(8, 3)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    upper = corners[:, 1] > 0
    template = {
        "vertices": jnp.float32(corners),
        "faces": jnp.int32([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]),
        "joints": jnp.zeros((2, 3)),
        "weights": jnp.float32(np.stack([~upper, upper], -1)),
        "canonical": jnp.broadcast_to(jnp.eye(3), (2, 3, 3)),
    }
    if num_poses:
        own = turns(num_poses)
        template |= {"poses": jnp.asarray(own.rotations), "translations": jnp.asarray(own.translation)}
    made = model.generator
    config = dataclasses.replace(made.config, articulation=dataclasses.replace(BODY, num_poses=num_poses))
    return model.replace(generator=Generator(config, {**made.variables, "template": template}))


@pytest.fixture(scope="module")
def checkpoint(tiny_semantic_model, tmp_path_factory):
    """The folder of a body with poses of its own."""
    folder = tmp_path_factory.mktemp("bodies") / "model"
    checkpoints.save(folder, posable(tiny_semantic_model, OWN))
    return str(folder)


@pytest.fixture(scope="module")
def model(checkpoint):
    """As it is loaded, so that what is compiled for it serves the workers of this process, too."""
    return checkpoints.load(checkpoint)


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """A file of seven frames."""
    path = tmp_path_factory.mktemp("motion") / "bow.json"
    pose_files.save(path, BODY, turns(7), fps=30)
    return str(path)


@pytest.fixture(scope="module")
def tiny_bodies(checkpoint, motion, tmp_path_factory):
    """A dataset of bodies in the poses of the file, made in this process. Nobody changes it."""
    out = tmp_path_factory.mktemp("tiny_bodies") / "out"
    make(taking(motion), checkpoint, out)
    return out


def taking(source="", plan=PLAN, **options):
    return dataclasses.replace(plan, poses=Poses(source, **options))


def make(plan, checkpoint, out, most=None):
    """Makes shards of a dataset, by default all, in this process; finishes it if all are there."""
    with running.begun(Job(plan, checkpoint, str(out))) as run:
        worker = Worker(run.job)
        for shard in run.missing[:most]:
            worker.make(shard)
        if most is None:
            running.finish(run.job)


def content(out):
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.relative_to(out).parts[0] != "run"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def looked_at(out, checkpoint):
    findings = verification.Findings()
    verification.check(out, findings, drawn=rerendering.drawn(out, checkpoint))
    return [str(finding) for finding in findings.listed]


def test_a_template_may_have_poses(model, checkpoint):
    found = checkpoints.load(checkpoint)
    assert found.generator.config.articulation.num_poses == OWN
    np.testing.assert_array_equal(found.generator.variables["template"]["poses"], turns(OWN).rotations)
    taken = poses.chosen(PLAN, found)
    assert len(taken) == OWN and taken.told() == {"frames": OWN, "fingerprint": taken.fingerprint}
    np.testing.assert_allclose(taken.pose.rotations, turns(OWN).rotations, atol=1e-6)


def test_frames_are_drawn_for_identities_and_move_nothing_else():
    found = [draws.draw_frames(PLAN, 7, identity) for identity in range(60)]
    assert all(first == second for first, second in found) and {first for first, _ in found} == set(range(7))
    assert draws.draw_frames(PLAN, 7, 3) == found[3] and {draws.draw_frames(PLAN, 7, 3, n) for n in range(9)} > {
        found[3]
    }
    assert {draws.draw_frames(dataclasses.replace(PLAN, seed=s), 7, 3) for s in range(4)} > {found[3]}
    one = dataclasses.replace(PLAN, modalities=("image",), views_per_identity=5)
    assert draws.draw_frames(taking(plan=one, order="frames"), 5, 3) == (0, 1, 2, 3, 4)


@pytest.mark.slow
def test_views_are_those_of_the_drawn_poses(model, motion):
    frames = poses.chosen(taking(motion), model)
    (made, _), (other, _) = render.render(PLAN, model, (0, 1), frames)
    assert made.frames == draws.draw_frames(PLAN, 7, 0) and other.frames == draws.draw_frames(PLAN, 7, 1)
    config, template = model.generator.config.articulation, model.generator.variables["template"]
    posed = articulated.body(config, template, frames.at(made.frames[0])).posed
    np.testing.assert_allclose(made.scene.body.posed, posed, atol=1e-5)
    (still, _), *_ = render.render(PLAN, model, (0,))
    np.testing.assert_allclose(still.scene.body.posed, template["vertices"], atol=1e-5)
    assert still.frames is None and np.abs(still.views.image - made.views.image).max() > 0.05
    np.testing.assert_array_equal(still.z, made.z)
    np.testing.assert_array_equal(still.views.camera.cam2world, made.views.camera.cam2world)


@pytest.mark.slow
def test_every_view_in_a_frame_of_its_own(model):
    modalities = ("image", "mask", "depth_z", "normal", "confidence")  # what a plan with points renders
    few = dataclasses.replace(PLAN, modalities=modalities, views_per_identity=OWN)
    frames = poses.chosen(taking(plan=few, order="frames"), model)
    (made, _), *_ = render.render(taking(plan=few, order="frames"), model, (1,), frames)
    assert made.frames == (0, 1, 2)
    z, camera = draws.draw(few, model.generator.config, 1)
    camera = jax.tree.map(lambda x: x[None], camera)
    for v in range(OWN):
        (same,) = render.rerender(few, model, (1,), (0,), z[None], camera, frames, np.full((1, OWN), v))
        np.testing.assert_array_equal(made.views.image[v], same.views.image[v])
        assert v == 1 or np.abs(same.views.image[1] - made.views.image[1]).max() > 0.05


@pytest.mark.slow
def test_a_dataset_keeps_its_poses_and_not_where_they_came_from(tiny_bodies, motion, tmp_path):
    said = json.loads((tiny_bodies / "dataset.json").read_text())
    assert said["plan"]["poses"] == {"order": "drawn"} and said["poses"]["frames"] == 7
    kept = pose_files.load(tiny_bodies / "poses.json", BODY, {})
    np.testing.assert_allclose(kept.pose.rotations, turns(7).rotations, atol=1e-6)
    assert kept.fps == 30
    assert not any(motion.encode() in data for data in content(tiny_bodies).values())
    data = factory.load(tiny_bodies)
    for record in (data[i] for i in range(len(data))):
        assert record["pose"] == draws.draw_frames(PLAN, 7, record["identity"])[0]
    assert next(data.batches(2))["pose"].shape == (2,)
    exporting.export(tiny_bodies, "folder", tmp_path / "folder")
    assert len(list((tmp_path / "folder").rglob("*.png"))) >= len(data)
    assert "in the 7 poses of poses.json: one is drawn for each identity" in (tiny_bodies / "README.md").read_text()


@pytest.mark.slow
def test_a_resumed_dataset_is_a_straight_one(tiny_bodies, checkpoint, motion, tmp_path):
    out, moved = tmp_path / "out", tmp_path / "moved.json"
    make(taking(motion), checkpoint, out, most=1)
    assert len(list((out / "data").glob("*.json"))) == 1
    moved.write_bytes((tiny_bodies / "poses.json").read_bytes())
    make(taking(str(moved)), checkpoint, out)  # the same poses, wherever they lie
    assert content(out) == content(tiny_bodies)
    pose_files.save(moved, BODY, turns(7, reach=0.7))
    for plan in (taking(str(moved)), PLAN):
        with pytest.raises(ValueError, match="the motion changed .fingerprint"):
            make(plan, checkpoint, out)
        with pytest.raises(ValueError, match="the motion changed .fingerprint"):
            estimate.measure(Job(plan, checkpoint, str(out)))
    assert content(out) == content(tiny_bodies)


@pytest.mark.slow
def test_what_was_begun_without_a_shard_may_take_other_poses(checkpoint, motion, tmp_path):
    make(taking(motion), checkpoint, tmp_path, most=0)
    before = (tmp_path / "poses.json").read_bytes()
    make(PLAN, checkpoint, tmp_path, most=0)
    assert description.read(tmp_path).num_poses == OWN and (tmp_path / "poses.json").read_bytes() != before


@pytest.mark.slow
def test_other_processes_and_a_dry_run(tiny_bodies, checkpoint, motion, tmp_path, monkeypatch):
    out = tmp_path / "out"
    job = Job(taking(motion), checkpoint, str(out))
    monkeypatch.setattr(engines, "in_a_worker", lambda function, *arguments: function(*arguments))
    assert "poses       7, one drawn for each identity" in estimate.estimate(job, workers=1) and not out.exists()
    engines.generate(job, workers=1)
    names = content(out).keys()
    assert names == content(tiny_bodies).keys()
    for name in ("poses.json", "dataset.json"):
        assert (out / name).read_bytes() == (tiny_bodies / name).read_bytes()
    (out / "poses.json").write_text((out / "poses.json").read_text().replace('"fps": 30', '"fps": 31'))
    with pytest.raises(ValueError, match="poses.json has other poses than dataset.json says"):
        Worker(dataclasses.replace(job, poses=description.read(out).poses_fingerprint))


@pytest.mark.slow
def test_verifying(tiny_bodies, checkpoint, tmp_path):
    assert looked_at(tiny_bodies, checkpoint) == []
    findings = verification.Findings()
    compared = comparison.compare(tiny_bodies, checkpoints.load(checkpoint), findings, samples=100)
    assert not findings.total and compared.identical == compared.views == 8
    frame = draws.draw_frames(PLAN, 7, 0)[0]
    out = forging.copied(tiny_bodies, tmp_path / "copy")
    other = (frame + 1) % 7
    forging.forge(out, "train-000000", forging.of("00000000_01", forging.own(lambda own: own.update(pose=other))))
    for drawn in (None, rerendering.drawn(out, checkpoint)):
        findings = verification.Findings()
        verification.check(out, findings, drawn=drawn)
        assert f"json: pose is {other}, expected {frame}" in str(findings.listed[0])
    forging.forge(out, "train-000000", forging.own(lambda own: own.update(pose=7)))
    findings = verification.Findings()
    verification.check(out, findings)
    assert "json: pose is 7, expected -1" in str(findings.listed[0])
    with pytest.raises(ValueError, match=r"poses.json has the frames 0 to 6, not \[7\]"):
        comparison.compare(out, checkpoints.load(checkpoint), findings, samples=100)
    (out / "poses.json").write_text("{}")
    assert "poses.json has other poses than dataset.json says" in looked_at(out, checkpoint)[0]
    (out / "poses.json").unlink()
    assert "poses.json cannot be read as the poses of a dataset: no such file" in looked_at(out, checkpoint)[0]


@pytest.mark.slow
@pytest.mark.parametrize("said", [7, {}, {"frames": 0, "fingerprint": ""}, {"frames": True, "fingerprint": ""}])
def test_what_is_no_number_of_poses(tiny_bodies, tmp_path, said):
    files.write_json(tmp_path / "dataset.json", files.read_json(tiny_bodies / "dataset.json") | {"poses": said})
    with pytest.raises(ValueError, match="poses is .*expected the number of frames and a fingerprint"):
        description.read(tmp_path)


@pytest.mark.slow
def test_other_labels_are_of_the_same_poses(tiny_bodies, checkpoint, tmp_path):
    for name, options in (("again", {"model": checkpoints.load(checkpoint)}), ("merged", {"names": {"hair": "skin"}})):
        out = tmp_path / name
        relabelling.relabel(tiny_bodies, out, **options)
        assert (out / "poses.json").read_bytes() == (tiny_bodies / "poses.json").read_bytes()
        assert looked_at(out, checkpoint) == [] and factory.load(out)[0]["pose"] == factory.load(tiny_bodies)[0]["pose"]
    tars = [shards.tar_path(folder, "test-000000") for folder in (tmp_path / "again", tiny_bodies)]
    assert tars[0].read_bytes() == tars[1].read_bytes()


def test_without_poses_there_is_no_trace_of_any(tiny_semantic_model, tmp_path):
    checkpoints.save(tmp_path / "model", posable(tiny_semantic_model))
    make(PLAN, str(tmp_path / "model"), tmp_path / "out", most=0)
    assert content(tmp_path / "out").keys() - {".lock"} == {"dataset.json", "labelmap.json"}
    assert "poses" not in (tmp_path / "out" / "dataset.json").read_text()


def test_mistakes_are_named_before_anything_is_written(model, tiny_semantic_model, motion, tmp_path):
    with pytest.raises(ValueError, match="points of an identity are of one pose, and poses.order is 'frames'"):
        taking(order="frames")
    plan = dataclasses.replace(PLAN, modalities=("image",))
    with pytest.raises(ValueError, match="bow.json has 7 poses, and views_per_identity is 2: expected as many"):
        poses.chosen(taking(motion, plan, order="frames"), model)
    with pytest.raises(ValueError, match="the checkpoint has 3 poses, and views_per_identity is 2"):
        poses.chosen(taking("", plan, order="frames"), model)
    with pytest.raises(ValueError, match="the checkpoint has 0 poses"):
        poses.chosen(taking("", plan, order="frames"), posable(tiny_semantic_model))
    for options in ({"source": motion}, {"plan": plan, "order": "frames"}):
        with pytest.raises(ValueError, match="this checkpoint's generator has no body that could take any"):
            poses.chosen(taking(**options), tiny_semantic_model)
    files.write_json(tmp_path / "tail.json", {"bones": ["tail"], "rotations": [[[0, 0, 0]]]})
    with pytest.raises(
        ValueError, match=r"bones that the template has not: \[tail\]; the template has \[root, upper\]"
    ):
        poses.chosen(taking(str(tmp_path / "tail.json")), model)
    with pytest.raises(ValueError, match=r"gone.json cannot be read as a motion: no such file"):
        poses.chosen(taking(str(tmp_path / "gone.json")), model)
    assert poses.chosen(PLAN, tiny_semantic_model) is None and poses.chosen(PLAN, posable(tiny_semantic_model)) is None
    bent = dict(model.generator.variables)
    bent["template"] = bent["template"] | {"poses": bent["template"]["poses"] * 2}
    with pytest.raises(ValueError, match="the checkpoint's own poses are none: .*orthonormal"):
        poses.chosen(PLAN, model.replace(generator=Generator(model.generator.config, bent)))


@pytest.mark.slow
def test_a_folder_is_not_made_for_what_is_refused(checkpoint, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="gone.bvh cannot be read"):
        make(taking(str(tmp_path / "gone.bvh")), checkpoint, out)
    assert not out.exists()


def test_the_command_line_names_a_source():
    plan = cli.load_settings("heads_dataset", Plan, ["poses.source=walk.bvh", "poses.in_place=True"])
    assert plan.poses == Poses("walk.bvh", in_place=True) and Plan().poses == Poses("", False, "drawn")


def test_what_another_machine_read_otherwise_by_a_digit(tmp_path):
    first = poses.Frames(turns(7), json.dumps(pose_files.to_data(BODY, turns(7))))
    poses.write(first, tmp_path)
    near, far = (poses.Frames(turns(7, reach), "") for reach in (0.8 + 1e-6, 0.81))
    assert poses.settled(near, BODY, tmp_path).text == first.text and poses.settled(far, BODY, tmp_path) is far
    few = poses.Frames(turns(2), "")
    assert poses.settled(few, BODY, tmp_path) is few and poses.settled(None, BODY, tmp_path) is None
    assert poses.settled(far, BODY, tmp_path / "nothing") is far
    poses.write(None, tmp_path)
    assert not list(tmp_path.iterdir())
