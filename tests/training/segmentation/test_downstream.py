"""Training on a dataset: it goes on after a kill with equal results, learns, is scored, and says what it cannot do."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, downstream
from dnerf_jax.factory import loading
from dnerf_jax.io import networks, packs
from dnerf_jax.models import classifiers, segmenters
from dnerf_jax.models.classifiers import ClassifierConfig
from dnerf_jax.models.segmenters import SegmenterConfig
from dnerf_jax.networks.deeplab import LAST
from dnerf_jax.networks.resnet import ResNetConfig
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import logs
from dnerf_jax.training.segmentation import learning, reporting, scores
from dnerf_jax.training.segmentation.plan import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(shrunk, tiny_assets):
    made = cli.as_dataclass(shrunk("deeplab_cpu.py"), Settings)
    real, test = str(tiny_assets / "heads_train"), str(tiny_assets / "heads_test")
    return dataclasses.replace(made, real=real, real_share=0.25, test=(test,))


@pytest.fixture(scope="module")
def straight(settings, tiny_dataset, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    downstream.main(settings, str(tiny_dataset), str(workdir))
    return workdir


def test_a_network_is_written_and_scored(straight, settings, tiny_assets):
    segmenter = networks.load(straight / learning.MODEL, "segmenter")
    pack = packs.load(tiny_assets / "heads_test")
    assert segmenter.config.label_map == pack.label_map and segmenter.config.network.num_classes == 5
    masks = segmenters.predict(segmenter, np.zeros((2, 40, 40, 3), np.float32))
    assert masks.shape == (2, 40, 40) and int(masks.max()) < 5
    found = json.loads((straight / scores.SCORES).read_text())["heads_test"]
    assert found["views"] == 3 and np.sum(found["confusion"]) == (pack.masks != 255).sum()
    assert 0 < found["miou"] < found["accuracy"] <= 1 and set(found["per_class"]) == set(pack.label_map.names)
    assert (straight / "heads_test.png").is_file()
    page = (straight / reporting.REPORT).read_text()
    assert f"{found['miou']:.3f}" in page and page.count("data:image/png") == 3
    assert all(f'"></span>{name}</td>' in page for name in pack.label_map.names)
    records = {record["step"]: record for record in logs.read_metrics(straight / "metrics.jsonl")}
    assert set(records) == {3, 4, 6} and "heads_test_miou" in records[3] and "heads_test_miou" not in records[4]


def test_a_killed_run_goes_on_with_equal_results(settings, straight, tiny_dataset, tmp_path):
    kill(lambda: learning.learn(settings, str(tiny_dataset), tmp_path), learning, "train_step", 5)
    assert not (tmp_path / learning.MODEL).exists()
    learning.learn(settings, str(tiny_dataset), tmp_path)
    resumed, expected = (networks.load(folder / learning.MODEL, "segmenter") for folder in (tmp_path, straight))
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert (tmp_path / scores.SCORES).read_text() == (straight / scores.SCORES).read_text()


def test_a_finished_run_is_scored_on_the_packs_that_are_named_now(
    settings, straight, tiny_dataset, tiny_assets, tmp_path, capsys
):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    other = dataclasses.replace(settings, test=(str(tiny_assets / "heads_video"),))
    learning.learn(other, str(tiny_dataset), workdir)
    assert "has done its 6 steps already" in capsys.readouterr().out
    assert set(json.loads((workdir / scores.SCORES).read_text())) == {"heads_video"}
    with pytest.raises(ValueError, match=r"made with other settings or inputs: learning_rate was 0.01 and is 1.0"):
        learning.learn(dataclasses.replace(settings, learning_rate=1.0), str(tiny_dataset), workdir)


def test_a_few_views_are_learned_by_heart(settings, tiny_dataset):
    """By gradient descent, without augmentation."""
    dataset = loading.load(tiny_dataset, split="train", only=("image", "mask"))
    still = dataclasses.replace(settings.augmentation, flip=0.0, smallest=1.0, largest=1.0, brightness=0.0)
    fitted = learning.fitted(settings, dataset.label_map, "")
    settings = dataclasses.replace(fitted, augmentation=still, steps=60)
    records = [dataset[i] for i in range(4)]
    batch = learning.Batch(*(np.stack([record[name] for record in records]) for name in ("image", "mask")))
    run = dataclasses.replace(settings, optimizer="sgd", learning_rate=0.3, weight_decay=1e-4)
    start = learning.starting(run, SegmenterConfig(run.network, run.resolution, dataset.label_map))
    state, found = learning.create_state(run, start), []
    for _ in range(60):
        state, report = learning.train_step(run.of_step, start.config, state, batch)
        found.append(float(report["loss"]))
    assert found[-1] < 0.6 * found[0]


def test_a_backbone_is_taken_and_another_refused(settings, tiny_dataset, random_arrays, tmp_path):
    dataset = loading.load(tiny_dataset, split="train")
    given = classifiers.abstract(ClassifierConfig(ResNetConfig((1, 1, 1, 1), width=4), 7))
    given = given.replace(params=random_arrays(given.params, 9))
    networks.save(tmp_path / "resnet", given, info={})
    settings = dataclasses.replace(settings, initial=str(tmp_path / "resnet"))
    settings = learning.fitted(settings, dataset.label_map, "")
    config = SegmenterConfig(settings.network, 16, dataset.label_map)
    made = learning.starting(settings, config)
    for part in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, made.params[part]["backbone"], given.params[part]["backbone"])
    networks.save(tmp_path / "deeplab", made, info={})
    again = learning.starting(dataclasses.replace(settings, initial=str(tmp_path / "deeplab"), seed=4), config)
    jax.tree.map(np.testing.assert_array_equal, again.params, made.params)
    wide = dataclasses.replace(settings.network, backbone=dataclasses.replace(settings.network.backbone, width=6))
    with pytest.raises(ValueError, match=r"resnet is another network than config.network: .*width=4.*width=6"):
        learning.starting(settings, dataclasses.replace(config, network=wide))
    last = dataclasses.replace(settings, trained="last")
    with pytest.raises(ValueError, match=r"resnet has no weights for .*aspp0_bn.*width of 0"):
        learning.starting(last, config)
    assert learning.starting(dataclasses.replace(last, initial=str(tmp_path / "deeplab")), config).config == config


@pytest.mark.parametrize("name", ["transfer.py", "dinov2.py"])
def test_the_last_layer_learns_alone_from_a_pack(name, shrunk, tiny_assets, tmp_path, capsys):
    """What transfer learning is: all before it stays to the last bit, averages too, where there are any."""
    settings = cli.as_dataclass(shrunk(name), Settings)
    given = ClassifierConfig(settings.network.backbone, 7, mean=(0.1,) * 3)
    given = jax.jit(classifiers.init, static_argnums=0)(given, jax.random.key(9))
    networks.save(tmp_path / "given", given, info={})
    settings = dataclasses.replace(settings, initial=str(tmp_path / "given"), trained="last")
    config = SegmenterConfig(settings.network, 16, packs.load(tiny_assets / "heads_train").label_map)
    made = learning.learn(settings, str(tiny_assets / "heads_train"), tmp_path / "run")
    assert "6 views; 45 parameters to train" in capsys.readouterr().out
    start = learning.starting(settings, dataclasses.replace(config, network=made.config.network))
    assert made.config.mean == (0.1,) * 3
    assert set(made.params) == ({"params"} if name == "dinov2.py" else {"params", "batch_stats"})
    for part in made.params:
        jax.tree.map(np.testing.assert_array_equal, made.params[part]["backbone"], start.params[part]["backbone"])
    moved = np.abs(made.params["params"][LAST]["kernel"] - start.params["params"][LAST]["kernel"])
    assert moved.max() > 0
    with pytest.raises(ValueError, match="other settings or inputs: trained was 'last' and is 'all'"):
        learning.learn(dataclasses.replace(settings, trained="all"), str(tiny_assets / "heads_train"), tmp_path / "run")


def renamed(pack):
    """A pack with the same ids and other names."""
    return dataclasses.replace(pack, label_map=LabelMap(("sky", "a", "b", "c", "d"), pack.label_map.colors))


def test_a_folder_of_something_else_is_no_data(tmp_path):
    with pytest.raises(ValueError, match=r"neither a dataset .*no dataset.json.*, nor .*images/ and masks/"):
        learning.opened(str(tmp_path), "train")


def test_what_does_not_fit_is_refused_before_any_step(settings, tiny_dataset, tiny_pack, tmp_path):
    packs.save(tmp_path / "other", renamed(tiny_pack))
    for change, message in (
        ({"test": (str(tmp_path / "other"),)}, r"has the classes background, .*the pack 'tiny' sky, .*relabel"),
        ({"real": str(tmp_path / "other"), "test": ()}, "the pack 'tiny' sky"),
        ({"test": settings.test * 2}, "expected folders of different names"),
        ({"network": dataclasses.replace(settings.network, num_classes=9)}, "has 5 classes, .*num_classes is 9"),
        ({"split": "validation"}, "validation"),
        ({"trained": "last"}, "trained is 'last' and config.initial is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            learning.learn(dataclasses.replace(settings, **change), str(tiny_dataset), tmp_path / "run")
    copy = tmp_path / "data"
    shutil.copytree(tiny_dataset, copy)
    next(copy.glob("data/*train*.tar")).unlink()
    with pytest.raises(ValueError, match=r"is not finished, or has lost shards: data/train"):
        learning.learn(settings, str(copy), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"real_share": 0.0}, "real_share 0: name both a labelled pack and its share, or neither"),
        ({"real": ""}, "real is '' and real_share 0.25: name both"),
        ({"real_share": 0.1}, "real_share 0.1 of a batch of 4 is 0 views, expected 1 to 3"),
        ({"real_share": 1.0}, "real_share 1 of a batch of 4 is 4 views, expected 1 to 3"),
    ],
)
def test_a_share_of_real_views_is_some_of_a_batch(settings, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(settings, **change)


def test_pixels_of_little_confidence_count_for_nothing(
    settings, straight, tiny_dataset, tiny_assets, tmp_path, monkeypatch
):
    """Of the dataset alone; and a run with them is another run."""
    sure = dataclasses.replace(settings, confident=0.99, test=())
    with pytest.raises(ValueError, match=r"made with other settings or inputs: confident was 0.0 and is 0.99"):
        learning.learn(sure, str(tiny_dataset), straight)
    pack = str(tiny_assets / "heads_train")
    with pytest.raises(ValueError, match="heads_train has no confidence, which config.confident asks for"):
        learning.learn(sure, pack, tmp_path / "run")
    without = loading.load(tiny_dataset, split="train")
    without.plan = dataclasses.replace(without.plan, modalities=("image", "mask"))
    with pytest.raises(ValueError, match="data has no confidence, .* with confidence in --config.modalities"):
        learning.with_confidence(without, "data")
    alone = dataclasses.replace(sure, real="", real_share=0.0, confident=1.0)
    with pytest.raises(ValueError, match="config.confident is 1.0, and no pixel of . views has as much: take less"):
        learning.learn(alone, str(tiny_dataset), tmp_path / "run")
    views = loading.load(tiny_dataset, split="train", only=("confidence",))
    least = float(np.median([record["confidence"] for record in views]))
    assert 0.4 < learning.counted(views, least) < 0.6 and learning.counted(views, 0.0) == 1
    monkeypatch.setattr(learning, "counted", lambda *_: 1.0)
    learning.learn(alone, str(tiny_dataset), tmp_path / "run")
    assert [record["loss"] for record in logs.read_metrics(tmp_path / "run" / "metrics.jsonl")] == [0.0, 0.0, 0.0]


def test_a_shard_that_is_damaged_stops_the_run_and_its_checkpoint_stays(settings, tiny_dataset, straight, tmp_path):
    """It can be read until its turn has come; restored, the run ends as if nothing had been."""
    data, workdir = tmp_path / tiny_dataset.name, tmp_path / "run"
    shutil.copytree(tiny_dataset, data)
    kill(lambda: learning.learn(settings, str(data), workdir), learning, "train_step", 4)
    tar = next(data.glob("data/*train*.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:700])
    with pytest.raises(ValueError, match=rf"{tar.name} ends before .*goes on from its last checkpoint"):
        learning.learn(settings, str(data), workdir)
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["4"]
    tar.write_bytes(whole)
    learning.learn(settings, str(data), workdir)
    made, expected = (networks.load(folder / learning.MODEL, "segmenter") for folder in (workdir, straight))
    jax.tree.map(np.testing.assert_array_equal, made, expected)
