"""The demo: the whole way on tiny assets, its report, and how it measures that clouds agree."""

import json

import numpy as np
import pytest
from ball import LABELS, ball
from PIL import Image

from dnerf_jax import demo as door
from dnerf_jax import factory
from dnerf_jax.experiments import demo
from dnerf_jax.io import configurations, files
from dnerf_jax.training import branch, logs


@pytest.mark.slow
def test_exact_clouds_agree_and_shifted_ones_do_not():
    views = ball([-10.0, 0.0, 10.0])
    good = demo.cloud_agreement(views, LABELS)
    assert good["median_distance"] < 0.01 and good["label_agreement"] > 0.97 and good["overlap"] > 0.8
    # The middle view is too deep by a tenth of the ball's radius.
    shift = np.array([0.0, 0.03, 0.0])[:, None, None]
    shifted = demo.cloud_agreement(views.replace(depth_z=views.depth_z + shift), LABELS)
    assert shifted["median_distance"] > 0.02
    swapped = views.mask.copy()
    swapped[1] = np.where(swapped[1] == 0, 0, 3 - swapped[1])
    assert demo.cloud_agreement(views.replace(mask=swapped), LABELS)["label_agreement"] < 0.1
    assert "labels agree on" in demo.describe_agreement(good)


def test_clouds_without_common_points_have_nothing_to_compare():
    views = ball([-10.0, 0.0])
    apart = views.replace(depth_z=views.depth_z + np.array([0.0, 2.0])[:, None, None])
    found = demo.cloud_agreement(apart, LABELS)
    assert found == {"overlap": 0, "median_distance": None, "label_agreement": None}
    assert demo.describe_agreement(found) == "they have no points in common"


@pytest.mark.slow
def test_the_whole_way_in_small(shrunk, tiny_assets, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "ASSETS", tiny_assets)
    monkeypatch.setenv("NPROC", "1")  # one worker: two would compile the same beside each other
    small = {name: shrunk(f"{name}.py") for name in ("heads", "heads_dataset")}
    monkeypatch.setattr(configurations, "load_config", small.__getitem__)
    door.main(str(tmp_path))
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"single", "video"}
    for name in scores:
        assert 0 < scores[name]["miou"] < 1 and 0.2 < scores[name]["accuracy"] < 1
        assert len(scores[name]["per_class"]) == 5
    data = factory.load(tmp_path / "dataset")
    assert [record["key"] for record in data][::3] == [f"{i:08d}_00" for i in range(4)] and len(data) == 12
    assert (tmp_path / "training" / "model" / "config.json").exists()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") >= 7
    assert f"{scores['single']['miou']:.3f}" in page and f"{scores['video']['accuracy']:.3f}" in page
    output = capsys.readouterr().out
    assert "clouds of neighbouring views: median distance" in output and "report.html" in output


@pytest.mark.slow
def test_the_report_shows_what_it_is_given(shrunk, tiny_semantic_model, tiny_pack, tmp_path):
    settings = configurations.as_dataclass(shrunk("heads.py"), branch.Settings)
    log = logs.MetricLog(tmp_path / "training")
    for step in (10, 20):
        log.write(step, {"loss": 1 / step, "accuracy": 0.5})
    log.close()
    grey = np.full((8, 8, 3), 128, np.uint8)
    sheet = tmp_path / "dataset" / "assets" / "samples.png"
    sheet.parent.mkdir(parents=True)
    for name in ("single.png", "video.png", sheet):
        Image.fromarray(grey).save(tmp_path / name)
    names = tiny_semantic_model.label_map.names
    per_class = dict.fromkeys(names, 0.5) | {"eye": None, "hair": 0.875}
    scores = {
        "single": {"miou": 0.6125, "accuracy": 0.9375, "per_class": per_class},
        "video": {"miou": 0.6625, "accuracy": 0.9125, "per_class": per_class},
    }
    demo.write_report(tmp_path, tiny_semantic_model, settings, tiny_pack, scores, grey, grey)
    page = (tmp_path / "report.html").read_text()
    numbers = [scores[name][score] for name in scores for score in ("miou", "accuracy")] + [0.875]
    for text in (*(f"{number:.3f}" for number in numbers), "seed 0", "20 steps", *names):
        assert text in page, text
    assert page.count("<img ") >= 7
