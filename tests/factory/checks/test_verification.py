"""Verifying files: the clean set passes, every fault that is planted is found and named, and nothing is raised."""

import hashlib
import json
import re
import shutil
import tarfile

import numpy as np
import pytest

from dnerf_jax import verify
from dnerf_jax.factory import plan as plans
from dnerf_jax.factory import shards
from dnerf_jax.factory.checks import rerendering, verification
from dnerf_jax.io import encoding
from tests.factory import forging
from tests.factory.forging import edit_json, forge, moved, of, own

pytestmark = pytest.mark.slow

# Shards: train-000000 has the identities 0 and 2, train-000001 3 and 5, test-000000 1 and 4, two views each.
TARS, VIEWS = 6, 12


@pytest.fixture
def copy(tiny_dataset, tmp_path):
    """A copy to spoil."""
    return forging.copied(tiny_dataset, tmp_path / "copy")


def found(out, **options):
    findings = verification.Findings()
    checked = verification.check(out, findings, **options)
    return checked, [str(finding) for finding in findings.listed]


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 64
    path.write_bytes(data)


def member(out, key, suffix, name="train-000000", folder="data"):
    """Where a member of a tar begins, and its size."""
    samples = shards.read_sidecar(out, name, folder)["samples"]
    return next(sample["members"][suffix] for sample in samples if sample["key"] == key)


def test_the_clean_set_passes(tiny_dataset, tiny_checkpoint, copy):
    seen = []
    checked, problems = found(tiny_dataset, on_tar=lambda checked: seen.append(checked.views))
    assert problems == [] and (checked.tars, checked.views, len(checked.stacks)) == (TARS, VIEWS, 1)
    assert checked.bytes == sum(path.stat().st_size for path in tiny_dataset.rglob("*.tar"))
    assert seen == [4, 8, 12, 12, 12, 12]
    (copy / "data" / ".train-000001.0123abcd.partial.tar").write_bytes(b"of a run that was killed")
    assert found(copy, drawn=rerendering.drawn(copy, str(tiny_checkpoint)))[1] == []
    # What is forged without a change is the same, byte by byte.
    for name in ("train-000000", "test-000000"):
        before = {path: path.read_bytes() for path in copy.rglob(f"{name}.*")}
        forge(copy, name, forging.nothing), forge(copy, name, forging.nothing, "clouds")
        assert before == {path: path.read_bytes() for path in before} and len(before) == 4


def test_the_tar_is_one_that_others_read(tiny_dataset):
    sidecar = shards.read_sidecar(tiny_dataset, "train-000000")
    with tarfile.open(tiny_dataset / "data" / "train-000000.tar") as tar:
        walked = {entry.name: [entry.offset_data, entry.size] for entry in tar}
    said = {f"{s['key']}.{suffix}": place for s in sidecar["samples"] for suffix, place in s["members"].items()}
    assert walked == said


def _in_a_picture(out):
    flip(out / "data" / "train-000000.tar", sum(member(out, "00000002_01", "image.png")) - 30)


def _in_padding(out):
    flip(out / "data" / "train-000000.tar", sum(member(out, "00000002_01", "json")))


def _in_a_cloud(out):
    flip(out / "clouds" / "test-000000.tar", sum(member(out, "00000004", "cloud.ply", "test-000000", "clouds")) - 1)


def _padding_and_hash(out):
    path = out / "data" / "train-000000.tar"
    flip(path, sum(member(out, "00000002_01", "json")))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_suffix(".json")
    beside.write_text(beside.read_text().replace(shards.read_sidecar(out, "train-000000")["sha256"], digest))


def _a_lost_shard(out):
    (out / "data" / "train-000001.tar").unlink(), (out / "data" / "train-000001.json").unlink()


def _swapped(out):
    ends = [f"data/{name}" for name in ("train-000000", "train-000001")]
    moved(out, [(a + s, b + s) for a, b in (ends, ends[::-1]) for s in (".tar", ".json")])


def _swapped_tars(out):
    ends = [f"data/{name}.tar" for name in ("train-000000", "train-000001")]
    moved(out, [ends, ends[::-1]])


def _swapped_and_renamed(out):
    _swapped(out)
    for name in ("train-000000", "train-000001"):
        path = out / "data" / f"{name}.json"
        path.write_text(path.read_text().replace('"shard": "train-00000', f'"shard": "{name}", "was": "', 1))


def _cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _extra(out):
    shutil.copy(out / "data" / "train-000001.tar", out / "data" / "train-000002.tar")


def _doubled(out):
    """Identity 2 has the files of identity 0, under its own name."""
    with open(out / "data" / "train-000000.tar", "rb") as file:
        samples = shards.read_sidecar(out, "train-000000")["samples"]
        twins = {f"00000002_{s['key'][-2:]}": shards.read_members(file, s) for s in samples if s["identity"] == 0}

    def change(sample, members):
        members.update(twins.get(sample["key"], {}))
        own(lambda said: said.update(key=sample["key"], identity=sample["identity"]))(sample, members)

    forge(out, "train-000000", change)


def _moved_to_another_split(out):
    """Identity 2 leaves train for test, where it takes the place of 4."""
    sidecar = shards.read_sidecar(out, "train-000000")
    with open(out / "data" / "train-000000.tar", "rb") as file:
        guests = [(s, shards.read_members(file, s)) for s in sidecar["samples"] if s["identity"] == 2]

    def change(sample, members):
        if sample["identity"] == 4:
            guest, brought = guests[sample["view"]]
            sample.update(guest), members.update(brought)
            own(lambda said: said.update(split="test"))(sample, members)

    forge(out, "test-000000", change, sidecar={"identities": [1, 2]})


def _classes_renamed(out):
    edit_json(out / "labelmap.json", lambda said: said["classes"][1].update(name="fur"))


def _classes_recoloured(out):
    edit_json(out / "labelmap.json", lambda said: said["classes"][1].update(color=[1, 2, 3]))
    shutil.rmtree(out / "clouds")
    edit_json(out / "dataset.json", lambda said: said["plan"]["modalities"].remove("points"))


def _grown(out):
    edit_json(out / "dataset.json", lambda said: said["plan"].update(num_identities=10**6))


def _unmeasured(out):
    path = out / "data" / "train-000000.json"
    path.write_text(re.sub(r'("area":\[)\d+', r"\g<1>99", path.read_text()))


def _joined(out):
    edit_json(out / "data" / "test-000000.json", lambda said: None)


def _another_stack(out):
    path = out / "clouds" / "train-000000.json"
    path.write_text(re.sub(r'"threads": \d+', '"threads": 99', path.read_text()))


def _other_pixels(out):
    def change(sample, members):
        members["mask.png"] = encoding.encode_png(np.zeros((8, 8), np.uint8), palette=np.zeros((256, 3), np.uint8))

    forge(out, "train-000000", of("00000002_01", change))


def _dropped(out):
    forge(out, "train-000000", forging.nothing, sidecar={"drops": [dict.fromkeys(verification._DROP, 0)]})


def _other_attempt(out):
    forge(out, "train-000000", of("00000000_01", lambda sample, members: sample.update(attempt=1)))


def _said(out, **values):
    forge(out, "train-000000", of("00000002_01", own(lambda said: said.update(values))))


FAULTS = {
    "a bit in a picture": (_in_a_picture, r"data/train-000000.tar: its sha256", r"tar: 00000002_01: image.png: "),
    "a bit in between": (_in_padding, r"data/train-000000.tar: its sha256"),
    "a bit in between, its hash made anew": (_padding_and_hash, r"data/train-000000.tar: it has bytes beside the"),
    "a bit in a cloud": (_in_a_cloud, r"clouds/test-000000.tar: 00000004: its hash"),
    "a lost shard": (_a_lost_shard, r"data/train-000001.tar: it is missing", r"data/train-000001.json: it is missing"),
    "a lost folder": (lambda out: shutil.rmtree(out / "clouds"), r"clouds/test-000000.tar: it is missing"),
    "swapped shards": (_swapped, r"data/train-000000.json: is not the sidecar of .* that of train-000001"),
    "swapped and renamed": (_swapped_and_renamed, r"data/train-000000.json: it has the identities 3, 5 .* 0, 2"),
    "swapped tars": (_swapped_tars, r"000000.tar: 00000000_00: at 512 it holds 00000003_00.image.png, not 00000000_00"),
    "half a sidecar": (lambda out: _cut(out / "data" / "test-000000.json", 0.5), r"test-000000.json: cannot be read"),
    "half a tar": (lambda out: _cut(out / "data" / "test-000000.tar", 0.5), r"tar: it has .* bytes, its sidecar says"),
    "no tar": (lambda out: _cut(out / "clouds" / "test-000000.tar", 0), r"tar: it ends within, or before, 00000001;"),
    "one more shard": (_extra, r"data/train-000002.tar: the plan has no such shard"),
    "an identity twice": (_doubled, r"dataset.json: 1 latents occur in several identities"),
    "an identity in another split": (_moved_to_another_split, r"test-000000.json: it has the identities 1, 2 .* 1, 4"),
    "classes renamed": (_classes_renamed, r"clouds/train-000000.tar: 00000000: its comments name other classes"),
    "classes recoloured": (_classes_recoloured, r"00000000_00: mask.png: its palette has other colours"),
    "another number of identities": (_grown, r"dataset.json: views is 12, of its plan 2000000", r"it is missing"),
    "wrong areas": (_unmeasured, r"000000.tar: 00000002_00: mask.png: its classes have the pixels"),
    "another stack": (_another_stack, r"clouds/train-000000.json: stack is .* that of the views says"),
    "lines joined": (_joined, r"data/test-000000.json: is not the sidecar of the shard .* lacks schema_version"),
    "pixels of another size": (_other_pixels, r"00000002_01: mask.png: its numbers are \(8, 8\), expected 16 x 16"),
    "a drop that cannot be": (_dropped, r"train-000000.json: it has the drop .* cannot be"),
    "an attempt without a drop": (_other_attempt, r"train-000000.json: 00000000_01: attempt is 1, expected 0"),
    "another view's JSON": (lambda out: _said(out, view=0), r"00000002_01: json: view is 0, expected 1"),
    "a latent of its own": (lambda out: _said(out, z=[0.5] * 8), r"00000002_01: json: z is not that of the identity's"),
    "a camera that mirrors": (lambda out: _said(out, cam2world=np.diag([1.0, 1, -1, 1]).tolist()), r"tar: .* mirrors"),
    "no camera": (lambda out: _said(out, cam2world=[[1.0]]), r"00000002_01: cam2world and intrinsics have shapes"),
    "no description": (lambda out: _cut(out / "dataset.json", 0.7), r"dataset.json: .* cannot be read"),
    "no classes": (lambda out: (out / "labelmap.json").unlink(), r"labelmap.json cannot be read as a label map"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_found_and_named(copy, fault):
    plant, *expected = FAULTS[fault]
    plant(copy)
    _, problems = found(copy)
    for pattern in expected:
        assert any(re.search(pattern, problem) for problem in problems), "\n".join(problems)
    assert all(str(copy) in problem and ";" in problem for problem in problems)


def _turned(said):
    said["cam2world"][0][3] += 1e-3


CHANGES = {
    "cam2world": lambda out: forge(out, "train-000000", of("00000002_01", own(_turned))),
    "z": lambda out: forge(out, "train-000000", own(lambda said: said["z"].__setitem__(0, 0.25))),
    "seed": lambda out: edit_json(out / "dataset.json", lambda said: said["plan"].update(seed=1)),
    "viewpoints": lambda out: edit_json(out / "dataset.json", lambda said: said["plan"]["viewpoints"].update(yaw=31)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_drawn_by_the_plan_is_found_in_every_view(copy, tiny_checkpoint, change):
    CHANGES[change](copy)
    assert found(copy)[1] == [], "the files are consistent"
    _, problems = found(copy, drawn=rerendering.drawn(copy, str(tiny_checkpoint)))
    assert "is not what the plan draws" in problems[0]
    if change in ("cam2world", "z"):
        assert f"json: {change}" in problems[0] and "train-000000.tar: 0000000" in problems[0]


def test_many_findings_are_counted_and_a_few_of_each_file_kept(copy):
    for path in (copy / "data").glob("*.json"):
        path.write_text(path.read_text().replace('"image":"', '"image":"0'))
    findings = verification.Findings()
    verification.check(copy, findings)
    assert findings.total == VIEWS and len(findings.listed) == VIEWS
    for index in range(300):
        findings.add(copy / f"{index // 20}", "something")
    assert findings.total == VIEWS + 300 and len(findings.listed) == VIEWS + 4 * 15
    for index in range(300):
        findings.add(copy / f"more {index}", "something")
    assert len(findings.listed) == 100


def test_what_a_sidecar_claims_takes_no_memory(copy):
    path = copy / "data" / "train-000000.json"
    sidecar = json.loads(path.read_text())
    first = sidecar["samples"][0]["members"]
    first["image.png"][1], sidecar["bytes"] = 10**15, 10**18
    sidecar["samples"][0]["members"] = {"image.png": first["image.png"]}
    path.write_text(json.dumps(sidecar))
    edit_json(copy / "dataset.json", lambda said: said["plan"].update(num_identities=10**9, shard_size=10**9))
    _, problems = found(copy)
    assert any("train-000000.json: it has the identities 0, 2" in problem for problem in problems)
    edit_json(copy / "dataset.json", lambda said: said["plan"].update(num_identities=10**15))
    assert "plans 2e+15 views" in found(copy)[1][0]


def test_the_door_tells_and_its_status_is_0_or_1(copy, capsys, tmp_path):
    assert verify.main(str(copy)) == 0
    assert "6 tars with 12 views" in (told := capsys.readouterr().out) and "nothing is wrong" in told
    assert "give --checkpoint to have it checked" in told
    _a_lost_shard(copy)
    assert verify.main(str(copy)) == 1
    assert "train-000001.tar: it is missing" in (told := capsys.readouterr().out) and "findings: 2" in told
    with pytest.raises(ValueError, match="is no dataset"):
        verify.main(str(tmp_path))


def test_identities_never_cross_splits_however_a_plan_grows():
    """The split of an identity is its own for good, and the shards hold every identity once, in its split."""
    draws = np.random.default_rng(0)
    for _ in range(60):
        parts = tuple(
            (name, int(draws.integers(1, 12))) for name in ("train", "validation", "test")[: draws.integers(1, 4)]
        )
        size, few, more = (int(number) for number in draws.integers(1, [9, 60, 60]))
        small = plans.Plan(num_identities=few, splits=parts, shard_size=size)
        large = plans.Plan(num_identities=few + more, splits=parts, shard_size=size)
        homes = [{i: shard.split for shard in plans.shards(made) for i in shard.identities} for made in (small, large)]
        held = [i for shard in plans.shards(large) for i in shard.identities]
        assert sorted(held) == list(range(few + more)) and homes[0].items() <= homes[1].items()
        assert all(plans.split_of(large, i) == split for i, split in homes[1].items())
        whole = {s.name: s.identities for s in plans.shards(small) if len(s.identities) == size}
        assert whole.items() <= {s.name: s.identities for s in plans.shards(large)}.items()
