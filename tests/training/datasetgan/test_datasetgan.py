"""DatasetGAN on a very small heads world: it goes on after a kill with equal results, and its pairs are read."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, datasetgan
from dnerf_jax.io import networks, packs, picture_folders
from dnerf_jax.models import image_generators
from dnerf_jax.training import logs
from dnerf_jax.training.datasetgan import distilling, making, pairs
from dnerf_jax.training.datasetgan.plan import Settings
from dnerf_jax.training.segmentation import batches, learning

NUM = 3


@pytest.fixture(scope="module")
def plan(shrunk):
    """The settings, of packs that nobody opens."""
    return cli.as_dataclass(shrunk("datasetgan_cpu.py"), Settings)


@pytest.fixture(scope="module")
def settings(plan, tmp_path_factory):
    """With three labelled views, and two to be scored on."""
    folder = tmp_path_factory.mktemp("packs")
    for name, count in (("heads_train", 3), ("heads_test", 2)):
        packs.save(folder / name, packs.load(name)[:count])
    return dataclasses.replace(plan, labelled=str(folder / "heads_train"), test=(str(folder / "heads_test"),))


@pytest.fixture(scope="module")
def straight(settings, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    datasetgan.main(settings, str(workdir), NUM)
    return workdir


def test_images_become_finer_at_their_steps(plan):
    assert [plan.resolution(step) for step in (1, 2, 3)] == [4, 8, 8]
    with pytest.raises(ValueError, match="refine_at has 2 steps, .* begin below 4"):
        dataclasses.replace(plan, refine_at=(1, 2))
    with pytest.raises(ValueError, match="held_out is 5 of 5 identities"):
        dataclasses.replace(plan, data=dataclasses.replace(plan.data, held_out=5))


def test_every_identity_is_seen_before_one_is_seen_again_and_none_that_is_held_out(plan):
    seen = [distilling.training_identities(plan, step) for step in (1, 2)]
    assert sorted(seen[0] + seen[1]) == [0, 1, 2, 3]


@pytest.mark.slow
def test_generator_labels_and_scores_are_written(straight, settings):
    records = logs.read_metrics(straight / "metrics.jsonl")
    assert [record["step"] for record in records] == [2, 3] and records[-1]["psnr"] > 3
    assert (straight / "sheets" / "000003.png").is_file()
    found = json.loads((straight / "scores.json").read_text())["heads_test"]
    assert found["views"] == 2 and np.sum(found["confusion"]) == 2 * 256**2
    labeller = networks.load(straight / making.LABELLER, "pixels")
    assert labeller.config.features == sum(settings.generator.widths) and labeller.config.members == 3


@pytest.mark.slow
def test_the_most_uncertain_are_dropped_and_the_rest_is_read_by_downstream(straight):
    facts = json.loads((straight / making.PAIRS / pairs.FACTS).read_text())
    kept = set(facts["uncertainty"]) - set(facts["dropped"])
    assert len(facts["uncertainty"]) == math.ceil(NUM / 0.9) and len(kept) == NUM
    doubts = facts["uncertainty"]
    assert max(doubts[name] for name in kept) <= min(doubts[name] for name in facts["dropped"])
    known = learning.opened(str(straight / making.PAIRS), "train")
    assert isinstance(known, picture_folders.Pictures) and {path.name for path in known.images} == kept
    (batch,) = batches.batches([batches.of(known, 2)], seed=0, resolution=8, start=0, stop=1)
    assert batch.image.shape == (2, 8, 8, 3) and batch.mask.shape == (2, 8, 8)
    assert learning.content(known) == known.content()
    assert (straight / "pairs.png").is_file()


@pytest.mark.slow
def test_a_killed_run_goes_on_with_equal_results_and_keeps_what_is_there(settings, straight, tmp_path, capsys):
    (tmp_path / "data").symlink_to(straight / "data")  # rendered already
    kill(lambda: making.make(settings, tmp_path, NUM), distilling, "train_step", 2)
    assert not (tmp_path / making.GENERATOR).exists()
    making.make(settings, tmp_path, NUM)
    for name, kind in ((making.GENERATOR, "images"), (making.LABELLER, "pixels")):
        resumed, expected = (networks.load(folder / name, kind) for folder in (tmp_path, straight))
        jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert (tmp_path / "scores.json").read_text() == (straight / "scores.json").read_text()
    paths = [folder / making.PAIRS / pairs.FACTS for folder in (tmp_path, straight)]
    assert paths[0].read_text() == paths[1].read_text()
    before = paths[0].stat().st_mtime_ns
    capsys.readouterr()
    making.make(settings, tmp_path, NUM)
    assert "has its 3 pairs already" in capsys.readouterr().out and paths[0].stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other settings or inputs: .*dropped was 0.1 and is 0.5"):
        making.make(dataclasses.replace(settings, dropped=0.5), tmp_path, NUM)


@pytest.mark.slow
def test_what_does_not_fit_the_world_is_refused(settings, tiny_pack, tmp_path):
    small = dataclasses.replace(settings.generator, z_dim=8)
    for change, message in (
        ({"generator": small}, "z_dim is 8, expected 52"),
        ({"labelled": "bodies_train"}, "is of the bodies world, whose scenes move"),
        ({"test": ("bodies_test",)}, "has the classes background, skin, .*the pack 'bodies_test'"),
    ):
        with pytest.raises(ValueError, match=message):
            making.make(dataclasses.replace(settings, **change), tmp_path, NUM)
    packs.save(tmp_path / "tiny", tiny_pack)
    with pytest.raises(ValueError, match="this generator is of no world"):
        making.make(dataclasses.replace(settings, labelled=str(tmp_path / "tiny")), tmp_path, NUM)


@pytest.mark.slow
def test_a_few_images_are_learned_by_heart(plan):
    """By the steps of the finest resolution alone."""
    still = dataclasses.replace(plan, refine_at=(), steps=60, ema_decay=0.5)
    made = image_generators.init(still.generator, jax.random.key(0))
    draws, state, found = np.random.default_rng(1), distilling.create_state(still, made), []
    z, c = draws.standard_normal((2, 52)).astype(np.float32), draws.standard_normal((2, 25)).astype(np.float32)
    batch = distilling.Batch(z, c, np.stack([np.full((8, 8, 3), 40, np.uint8), np.full((8, 8, 3), 200, np.uint8)]))
    for _ in range(60):
        state, report = distilling.train_step(still.of_step, 8, made.params["buffers"], state, batch)
        found.append(float(report["image"]))
    assert found[-1] < 0.2 * found[0]
