"""Scenes that are edited on the page: what is painted is kept, edits make a chain of scenes, and can be left."""

import json

import numpy as np
import pytest
import stand_ins

from dnerf_jax.io import checkpoints, folders
from dnerf_jax.labelling import commands, drafts, repainting, runs_of_ids, server
from dnerf_jax.labelling.repainting import Editor
from dnerf_jax.labelling.scene_session import SceneSession
from dnerf_jax.training.editing import wanted
from dnerf_jax.training.inversion.subject import Subject

testclient = pytest.importorskip("starlette.testclient")


@pytest.fixture
def begin(scene, edit_settings, tmp_path):
    """Makes the session of that scene; another call is a restart."""
    out, made = tmp_path / "edits", []

    def start(work=None):
        for session in made:
            session.close()
        editor = Editor(edit_settings, out)
        if work is not None:
            editor.runs._work = work
        made.append(SceneSession(scene, out, editor))
        return made[-1]

    with folders.claimed(out):
        yield start
        made[-1].close()


def client_of(session):
    """A browser's stand-in that knows the token."""
    app = server.make_app(session, 8000, "secret")
    base = "http://127.0.0.1:8000"
    return testclient.TestClient(app, base_url=base, headers={"X-Token": "secret"}, raise_server_exceptions=False)


def mask_of(client, view):
    answer = client.get(f"/api/views/{view}/mask")
    return np.frombuffer(answer.content, np.uint8).reshape(16, 16), answer.headers["X-Version"]


def save(client, view, mask):
    body, version = runs_of_ids.encode(mask), mask_of(client, view)[1]
    answer = client.put(f"/api/views/{view}/mask", content=body, headers={"X-Version": version})
    assert answer.status_code == 200
    return answer.json()["version"]


def square(mask):
    """The mask with a square of another of its classes in the middle."""
    order, made = np.argsort(-np.bincount(mask.ravel(), minlength=5)), mask.copy()
    made[5:11, 5:11] = np.where(made[5:11, 5:11] == order[0], order[1], order[0])
    return made


def test_the_mask_that_is_painted_over_is_what_an_edit_begins_with(begin, scene, edit_settings, tmp_path, monkeypatch):
    session = begin()
    client = client_of(session)
    told = client.get("/api/pack").json()
    assert told["kind"] == "scene" and told["open"] == 0 and told["views"][0]["yaw"] == 10
    looked, told_steps = [], []

    def run(settings, loaded, request, view, out, *, tell):
        # As the true one begins.
        looked.append(wanted.look(settings, loaded.model, Subject(loaded.z, None, view), view).mask[0])
        np.testing.assert_array_equal(request.of(looked[0], loaded.label_map), painted)
        tell("z", 1, 2, 0.5)
        told_steps.append(json.loads((out / "progress.json").read_text()))

    monkeypatch.setattr(repainting.written, "run", run)
    painted = square(mask_of(client, 0)[0])
    repainting.edit(edit_settings, scene, None, "", painted, tmp_path)
    np.testing.assert_array_equal(mask_of(client, 0)[0], looked[0])
    assert told_steps == [{"stage": "z", "step": 1, "steps": 2}]

    headers = {"X-Version": mask_of(client, 0)[1]}
    refused = client.post("/api/views/0/job", headers=headers)
    assert refused.status_code == 400 and "nothing is painted" in refused.text
    save(client, 0, painted)
    assert client.post("/api/views/0/job", headers=headers).status_code == 409, "another mask than is meant"


@pytest.mark.slow
def test_edits_are_a_chain_that_is_left_and_taken_up_again(begin, scene, tmp_path):
    client = client_of(begin(stand_ins.edits))
    own, _ = mask_of(client, 0)
    index = client.post("/api/views/0/turned?yaw=20&pitch=5").json()["index"]
    assert index == 1 and client.post("/api/views/0/turned?yaw=20&pitch=5").json()["index"] == 1
    turned = client.get("/api/views/0/turned?yaw=20&pitch=5").content
    np.testing.assert_array_equal(np.frombuffer(turned[768:], np.uint8), mask_of(client, 1)[0].ravel())
    assert len(client.get("/api/views/1/edges").content) == 256
    assert len(client.get("/api/views/1/prediction").content) == 512
    assert client.get("/api/views/0/carried").status_code == 404, "that is of label folders"

    def apply(client, view, session):
        headers = {"X-Version": save(client, view, square(mask_of(client, view)[0]))}
        assert client.post(f"/api/views/{view}/job", headers=headers).json()["state"] == "running"
        assert client.post(f"/api/views/{view}/job", headers=headers).status_code == 400, "one at a time"
        session.editor.runs.wait(100)

    session = begin(stand_ins.edits)  # a restart
    client = client_of(session)
    told = client.get("/api/pack").json()
    assert told["open"] == 1 and (told["views"][1]["yaw"], told["views"][1]["pitch"]) == (20, 5)
    apply(client, 1, session)
    assert client.get("/api/job").json()["state"] == "done"
    told = client.get("/api/pack").json()
    assert told["open"] == 2 and told["views"][2]["result"]["iou"] == [0.5, 0.75]
    assert client.get("/api/views/2/comparison").content.startswith(b"\x89PNG")
    assert client.get("/api/views/0/comparison").status_code == 404
    apply(client, 2, session)  # of the scene that the first one made; nobody asked for what became of it
    session = begin(stand_ins.fails)
    client = client_of(session)
    views = client.get("/api/pack").json()["views"]
    assert [view["scene"] for view in views] == [None, None, 0, 1] and [view["from"] for view in views[2:]] == [1, 2]
    np.testing.assert_array_equal(mask_of(client, 0)[0], own)
    assert client.post("/api/views/1/open").status_code == 204  # as undoing the edit does
    assert client.get("/api/pack").json()["open"] == 1
    assert client.post("/api/views/9/open").status_code == client.post("/api/views/9/job").status_code == 404

    apply(client, 0, session)
    failed = client.get("/api/job").json()
    assert failed["state"] == "failed" and failed["reason"] == "nose cannot be edited in this view"
    painted = square(mask_of(client, 3)[0])
    save(client, 3, painted)
    client = client_of(begin())
    np.testing.assert_array_equal(mask_of(client, 3)[0], painted)
    assert len(client.get("/api/pack").json()["views"]) == 4

    content = json.loads((tmp_path / "edits" / drafts.NAME).read_text())
    (tmp_path / "edits" / drafts.NAME).write_text(json.dumps(content | {"open": 9}))
    with pytest.raises(ValueError, match=r"edits.json: there are views 0 to 3"):
        begin()
    (tmp_path / "edits" / drafts.NAME).write_text(json.dumps(content | {"latents": "0"}))
    with pytest.raises(ValueError, match="edits of another scene"):
        begin()


def test_what_cannot_be_edited_is_refused(scene, tiny_model, tiny_checkpoint, tmp_path):
    bare = tmp_path / "bare"
    checkpoints.save(bare, tiny_model)
    for arguments, message in (
        ({"scene": str(tmp_path / "nothing")}, "does not exist"),
        ({"scene": str(tiny_checkpoint)}, "is a checkpoint, not a scene"),
        ({"scene": str(scene), "checkpoint": str(bare)}, "has no semantic branch"),
        ({"scene": str(scene), "out": str(scene)}, "has content"),
        ({"scene": str(scene), "editing": "heads"}, "field"),
        ({"scene": str(scene), "workdir": "runs"}, "--workdir is of trainings"),
        ({}, "expected either the folder of a pack"),
    ):
        with pytest.raises(ValueError, match=message):
            commands.serve(**arguments)
    with pytest.raises(ValueError, match="expected either"):
        commands.serve("labels", scene=str(scene))
    with pytest.raises(ValueError, match="--out is of edits"):
        commands.serve("labels", out="edits")
    for labels, message in (
        (scene, "it has a scene, which `label serve --scene"),
        ("nowhere", "`label propose` makes"),
    ):
        with pytest.raises(ValueError, match=f"is no folder of labels.*{message}"):
            commands.serve(str(labels))
        with pytest.raises(ValueError, match="is no folder of labels"):
            commands.bring_in("masks.zip", str(labels))
    assert not (tmp_path / "scene_edits").exists(), "nothing is left behind"
