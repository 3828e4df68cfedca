"""The page's server: what it refuses, what it saves, and what it tells of a scene's views."""

import dataclasses
import sys

import numpy as np
import pytest

from dnerf_jax import cli
from dnerf_jax.io import folders, packs
from dnerf_jax.labelling import runs_of_ids, server
from dnerf_jax.labelling.seeing import Eye
from dnerf_jax.labelling.session import Session
from dnerf_jax.labelling.teaching import Teacher
from dnerf_jax.labelling.workspace import Workspace
from dnerf_jax.training import branch

testclient = pytest.importorskip("starlette.testclient")
TOKEN = "secret"
BASE = "http://127.0.0.1:8000"


@pytest.fixture
def labels(tiny_pack, tmp_path):
    """A folder of three views of one latent and one of another, of which the first is labelled."""
    pack = tiny_pack[[0, 1, 2, 3]]
    masks = np.where(np.arange(4)[:, None, None] == 0, pack.masks, 255).astype(np.uint8)
    packs.save(tmp_path / "labels", dataclasses.replace(pack, masks=masks), unlabelled=True)
    return tmp_path / "labels"


@pytest.fixture
def session(labels, tiny_model, tiny_assets, shrunk):
    """The session of that folder."""
    settings = dataclasses.replace(cli.as_dataclass(shrunk("heads.py"), branch.Settings), steps=5)
    with folders.claimed(labels):
        made = Session(
            Workspace(labels), Eye(tiny_model), Teacher(str(tiny_assets / "heads"), settings, labels.parent / "runs")
        )
        yield made
        made.close()


@pytest.fixture
def client(session):
    """A browser's stand-in that knows the token."""
    app = server.make_app(session, 8000, TOKEN)
    return testclient.TestClient(app, base_url=BASE, headers={"X-Token": TOKEN}, raise_server_exceptions=False)


@pytest.fixture
def save(client):
    """Sends a mask: save(index, mask, version, **headers)."""

    def put(index, body, version="", **headers):
        body = body if isinstance(body, bytes) else runs_of_ids.encode(body)
        return client.put(f"/api/views/{index}/mask", content=body, headers={"X-Version": version, **headers})

    return put


def on_disk(labels):
    return packs.load(labels, unlabelled=True).masks


def test_masks_are_saved_whole_and_by_their_versions(client, save, labels, generator):
    there = client.get("/api/views/1/mask")
    mine, other = generator.choice([0, 1, 2, 255], (2, 16, 16)).astype(np.uint8)
    first = save(1, mine, there.headers["X-Version"])
    assert first.status_code == 200
    np.testing.assert_array_equal(on_disk(labels)[1], mine)
    assert save(1, mine, "old").json() == first.json(), "what is there already may be sent again"
    refused = save(1, other, there.headers["X-Version"])
    assert refused.status_code == 409 and "another tab" in refused.text
    np.testing.assert_array_equal(on_disk(labels)[1], mine)
    assert save(1, other, first.json()["version"]).status_code == 200
    np.testing.assert_array_equal(np.frombuffer(client.get("/api/views/1/mask").content, np.uint8), other.ravel())
    told = client.get("/api/pack").json()
    assert [view["labelled"] > 0 for view in told["views"]] == [True, True, False, False]


def test_what_is_not_the_page_is_refused(client, save, labels):
    before = {path: path.read_bytes() for path in labels.rglob("*.png")}
    version = client.get("/api/views/1/mask").headers["X-Version"]
    mask = np.zeros((16, 16), np.uint8)
    for headers, status, message in (
        ({"X-Token": "wrong"}, 403, "token"),
        ({"X-Token": ""}, 403, "token"),
        ({"Origin": "http://evil.example"}, 403, "another page"),
        ({"Origin": "http://127.0.0.1:9999"}, 403, "another page"),
        ({"Origin": "null"}, 403, "another page"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "another page"),
        ({"Host": "evil.example:8000"}, 403, "another host"),
        ({"Content-Length": str(100 << 20)}, 413, "4 MiB"),
    ):
        answer = save(1, mask, version, **headers)
        assert answer.status_code == status and message in answer.text, headers
    for body, message in (
        (bytes(100 << 20), "4 MiB"),
        (runs_of_ids.encode(np.zeros((8, 8), np.uint8)), "expected 16 x 16"),
        (runs_of_ids.encode(np.zeros((32, 32), np.uint8)), "expected 16 x 16"),
        (runs_of_ids.encode(np.full((16, 16), 9, np.uint8)), "unknown ids [9]"),
        (b"", "run lengths"),
        (b"\0\0", "run lengths"),
        (b"\1\0\0" + runs_of_ids.encode(mask), "none of them empty"),
    ):
        answer = save(1, body, version)
        assert answer.status_code in (400, 413) and message in answer.text, message
    chunks = client.put("/api/views/1/mask", content=(bytes(1 << 20) for _ in range(100)))
    assert chunks.status_code == 413 and "4 MiB" in chunks.text, "a body without a length too"
    assert "longer than" in client.get(f"/api/views/{'9' * 5000}/image").text
    assert save(4, mask, version).status_code == 404 and save(-1, mask, version).status_code == 404
    assert {path: path.read_bytes() for path in labels.rglob("*.png")} == before


@pytest.mark.parametrize(
    "path",
    [
        "/page/../session.py",
        "/page/..%2fsession.py",
        "/page/%2e%2e/session.py",
        "/page/%2fetc%2fpasswd",
        "/page/",
        "/api/views/../../pack.json/image",
        "/api/views/0%2f..%2f1/image",
        "/api/views/999999999999999999999/image",
        "/etc/passwd",
    ],
)
def test_paths_lead_nowhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and len(answer.content) < 100


def test_the_page_has_no_external_address(client):
    for name, (body, _) in server.page().items():
        assert client.get(f"/page/{name}", headers={"X-Token": ""}).content == body
        assert b"http://" not in body and b"https://" not in body and b'src="//' not in body
    front = client.get("/", headers={"X-Token": ""})
    assert "default-src 'none'" in front.headers["Content-Security-Policy"]
    assert b"<title>Labelling" in front.content and b"style=" not in front.content


def test_run_lengths_give_back_every_mask(tiny_pack, generator):
    for mask in (generator.integers(0, 3, (16, 16)), np.zeros((300, 300)), np.eye(16)):
        mask = mask.astype(np.uint8)
        np.testing.assert_array_equal(
            runs_of_ids.decode(runs_of_ids.encode(mask), len(mask), tiny_pack.label_map), mask
        )


@pytest.mark.slow
def test_a_scene_is_turned_labels_follow_and_a_branch_is_trained(client, session, labels, tiny_pack):
    ids = np.frombuffer(client.get("/api/views/1/carried").content, np.uint8).reshape(16, 16)
    known = ids != 255
    assert known.any() and (np.frombuffer(client.get("/api/views/3/carried").content, np.uint8) == 255).all()
    turned = client.get("/api/views/0/turned?yaw=0&pitch=0").content
    np.testing.assert_array_equal(np.frombuffer(turned[768:], np.uint8).reshape(16, 16), ids)
    for query in ("yaw=1", "yaw=a&pitch=0", "yaw=nan&pitch=0", "yaw=0&pitch=90"):
        assert client.get(f"/api/views/0/turned?{query}").status_code == 400
    assert len(client.get("/api/views/0/edges").content) == 256
    assert client.get("/api/views/0/prediction").status_code == 400
    assert client.post("/api/views/0/turned?yaw=10&pitch=5").json() == {"index": 4}
    pack = packs.load(labels, session.eye.model, unlabelled=True)
    assert len(pack) == 5 and pack.latent_id.tolist() == [0, 0, 0, 1, 0]
    assert client.post("/api/views/2/turned?yaw=10&pitch=5").json() == {"index": 4}, "it is there already"
    told = client.get("/api/pack").json()["views"]
    assert (told[4]["yaw"], told[4]["pitch"]) == (10, 5)
    with pytest.raises(ValueError, match="in use by another command"), folders.claimed(labels):
        pass
    assert client.get("/api/job").json()["state"] == "none"
    assert client.post("/api/job").json()["state"] == "running"
    assert client.post("/api/job").status_code == 400
    session.teacher.runs.wait(120)
    told = client.get("/api/job").json()
    assert told == {"state": "done", "step": 5, "steps": 5, "reason": "", "branch": True}
    predicted = np.frombuffer(client.get("/api/views/3/prediction").content, np.uint8)
    assert predicted.size == 512 and set(predicted[:256]) <= set(range(tiny_pack.label_map.num_classes))


def test_without_its_libraries_the_extra_is_named(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(ImportError, match=r"pip install dnerf_jax\[label\]"):
        server.make_app(session, 8000, TOKEN)
