"""Packs of what inversion found: kept view by view, of the pictures alone, and scored beside the known latents."""

import dataclasses
import json

import numpy as np
import pytest

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, inverted, rows
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.experiments.inverted import Inversions
from dnerf_jax.io import configurations, packs
from dnerf_jax.ops import images
from dnerf_jax.training.inversion import protocol, stages
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.stages import Outcome
from dnerf_jax.training.inversion.subject import Subject

pytestmark = pytest.mark.slow  # all render or invert


@pytest.fixture
def plan(shrunk):
    """The settings of configs/invert.py for the tiny model."""
    return configurations.as_dataclass(shrunk("invert.py"), Settings)


@pytest.fixture
def asked(monkeypatch):
    """The inversions that were asked for: each finds z full of its number, from straight ahead, in 4 seconds."""
    found = []

    def run(settings, model, target, *, encoder, finished, done):
        if finished:
            return finished
        found.append((settings, model, target, encoder))
        config = model.generator.config
        orbit = subjects.default_orbit(model, np.full(1, 0.1, np.float32))
        subject = Subject(np.full(config.z_dim, len(found), np.float32), None, orbit)
        outcomes = [
            Outcome("start", subject.replace(z=-subject.z), (), 1.0, {"psnr": 10.0}),
            Outcome("z", subject, (), 3.0, {"psnr": 20.0 + len(found)}),
        ]
        for outcome in outcomes:
            done(outcome)
        return outcomes

    monkeypatch.setattr(stages, "run", run)
    return found


def test_pictures_alone_are_inverted_and_true_masks_stay(
    plan, asked, tiny_semantic_model, tiny_pack, tiny_assets, tmp_path, capsys
):
    name = str(tiny_assets / "heads_test")
    sets = inverted.make(Inversions(2, plan), tiny_semantic_model, name, tmp_path)
    assert list(sets) == ["2 inverted", "2 known"] and len(asked) == 2
    for view, (settings, model, target, _) in enumerate(asked):
        assert settings == dataclasses.replace(plan, stages=("z",)) != plan
        assert model.semantic is None and target.mask is None and (target.weights == 1).all()
        np.testing.assert_array_equal(target.image, images.from_uint8(tiny_pack.images[6 + view])[None])
    found, known = (packs.load(path) for path in sets.values())
    np.testing.assert_array_equal(known.z, tiny_pack.z[6:8])
    np.testing.assert_array_equal(found.z, np.repeat([[1.0], [2.0]], 8, axis=1))
    camera = subjects.camera_of(Subject(None, None, subjects.default_orbit(tiny_semantic_model, np.float32(0.1))))
    np.testing.assert_array_equal(found.cam2world, np.stack([camera.cam2world] * 2))
    np.testing.assert_array_equal(found.intrinsics, np.stack([camera.intrinsics] * 2))
    assert found.latent_id.tolist() == [0, 1] and known.latent_id.tolist() == [2, 2]
    for pack in (found, known):
        np.testing.assert_array_equal(pack.masks, tiny_pack.masks[6:8])
        np.testing.assert_array_equal(pack.images, tiny_pack.images[6:8])
        assert pack.fingerprint == tiny_semantic_model.fingerprint
    medians = json.loads((tmp_path / "found_2.json").read_text())
    off = np.degrees([0.1 + 0.4, 0.1])  # the views look from -0.4 and 0 radians
    assert medians == {"psnr": 21.5, "yaw": pytest.approx(off.mean(), abs=1e-3), "pitch": 0.0, "seconds": 4, "cases": 2}
    assert "inverted 2 of 2: psnr 22  yaw 5.73" in capsys.readouterr().out


def test_what_was_found_is_kept(plan, asked, tiny_model, tiny_pack, tmp_path, monkeypatch):
    packs.save(tmp_path / "pack", tiny_pack[:3])
    name, folder = str(tmp_path / "pack"), tmp_path / "inverted"
    first = inverted.make(Inversions(1, plan), tiny_model, name, folder)
    assert inverted.make(Inversions(1, plan), tiny_model, name, folder) == first and len(asked) == 1

    def refuse(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(packs, "save", refuse)
        with pytest.raises(KeyboardInterrupt):
            inverted.make(Inversions(2, plan), tiny_model, name, folder)
    more = inverted.make(Inversions(3, plan), tiny_model, name, folder)
    assert len(asked) == 3
    np.testing.assert_array_equal(packs.load(more["3 inverted"]).z[:, 0], [1, 2, 3])
    with pytest.raises(ValueError, match="candidates"):
        inverted.make(Inversions(3, dataclasses.replace(plan, candidates=3)), tiny_model, name, folder)
    with pytest.raises(ValueError, match="pack was"):
        inverted.make(Inversions(3, plan), tiny_model, "heads_video", folder)
    with pytest.raises(ValueError, match="--cases is 4, and the pack .* has 3 views"):
        inverted.make(Inversions(4, plan), tiny_model, name, folder)


def test_a_table_in_this_protocol(
    plan, in_small, shrunk, tiny_semantic_model, tiny_assets, tmp_path, monkeypatch, capsys
):
    short = shrunk("invert.py")
    short.update(trial_steps=0, z={"steps": 1, "newton": 0})
    monkeypatch.setattr(configurations, "load_config", {"heads": in_small, "invert": short}.__getitem__)
    monkeypatch.setitem(rows.TABLES, "4", [row for row in rows.TABLES["4"] if row.name in ("hidden", "last")])
    trained = []

    def train(bench, row, seed):
        trained.append(row.name)
        return bench.model.replace(semantic=tiny_semantic_model.semantic, label_map=tiny_semantic_model.label_map)

    monkeypatch.setattr(ablations, "trained", train)
    reproduce.main(str(tmp_path), table="4", seeds=1, protocol="inversion", cases=2)
    result, text = (tmp_path / f"table4_inverted.{kind}" for kind in ("json", "md"))
    scores = json.loads(result.read_text())["rows"][0]["seeds"][0]
    assert {on: found["views"] for on, found in scores.items()} == {"2 inverted": 2, "2 known": 2}
    assert text.read_text() in capsys.readouterr().out
    assert "| row | views | 2 inverted mIoU | 2 inverted acc. | 2 known mIoU | 2 known acc. | paper, single |" in (
        text.read_text()
    )
    assert "- multiscale features help, 2 inverted: undecided" in text.read_text()
    assert trained == ["last", "hidden"] and not (tmp_path / "table4.md").exists()
    # In the other protocol the same folder and branches serve.
    reproduce.main(str(tmp_path), table="4", seeds=1, rows="last")
    scores = json.loads((tmp_path / "last_30x3_seed0" / "scores.json").read_text())
    assert list(scores) == ["2 inverted", "2 known", "single", "video"]
    assert "| row | views | single mIoU | single acc. | video mIoU |" in (tmp_path / "table4.md").read_text()


def test_what_inversion_did_not_find_is_scored(plan, bench, tiny_semantic_model, tiny_pack, tmp_path):
    """Elsewhere such latents mean that a pack is out of step."""
    astray = dataclasses.replace(tiny_pack[[0, 3, 6]], z=tiny_pack.z[[3, 6, 0]])
    packs.save(tmp_path / "astray", astray)
    model, name = tiny_semantic_model, str(tmp_path / "astray")
    with pytest.raises(ValueError, match="astray cannot be used"):
        ablations.measure(bench, model, name)
    inverts = Bench(bench.base, bench.model, bench.out, Inversions(3, plan))
    assert ablations.measure(inverts, model, name)["views"] == 3


@pytest.mark.parametrize("wrong", [{"table": "4", "protocol": "photos"}, {"table": "tuning"}, {"figure": "S10"}])
def test_only_tables_of_single_views_are_inverted(wrong, tmp_path):
    expected = "expected known, or inversion with --table 4, 5, ceiling"
    with pytest.raises(ValueError, match=expected):
        reproduce.main(str(tmp_path / "out"), **({"protocol": "inversion"} | wrong))
    assert not (tmp_path / "out").exists()


def test_a_target_has_pictures_or_masks(tiny_pack):
    pictures, masks = (protocol.target_of(tiny_pack[:2], by_mask=by_mask) for by_mask in (False, True))
    assert pictures.image.shape == (2, 16, 16, 3) and pictures.mask is None and pictures.class_weights is None
    np.testing.assert_array_equal(masks.mask, tiny_pack.masks[:2])
    assert masks.image is None and masks.class_weights.shape == (5,)
