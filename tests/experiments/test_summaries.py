"""What runs say together: verdicts that the spread allows, means and deviations of samples."""

import numpy as np
import pytest

from dnerf_jax.experiments import summaries


def scores(*values):
    return [{"single": {"miou": value}} for value in values]


@pytest.mark.parametrize(
    ("better", "worse", "word"),
    [
        ((0.6, 0.62, 0.61), (0.5, 0.51, 0.52), "reproduced"),
        ((0.5, 0.51, 0.52), (0.6, 0.62, 0.61), "not reproduced"),
        ((0.5, 0.6, 0.55), (0.55, 0.54, 0.56), "undecided"),
        ((0.6,), (0.5,), "undecided"),
    ],
)
def test_a_claim_needs_more_than_the_spread(better, worse, word):
    assert summaries.verdict(scores(*better), scores(*worse), "single")["verdict"] == word


def table(values, paper=None):
    """A result of one row whose mIoU and accuracy over the seeds are the values."""
    seeds = [{"single": {"miou": value, "accuracy": value / 2}} for value in values]
    row = {"name": "hidden", "latents": 30, "views_per_latent": 3, "paper": {"single": paper, "video": None}}
    verdict = {"single": {"verdict": "undecided", "differences": [0.0125, -0.25]}}
    return {"table": "4", "rows": [row | {"seeds": seeds}], "claims": {"the prior helps": verdict}}


def test_deviations_are_those_of_samples():
    values = (0.5, 0.6, 0.8)
    text = summaries.markdown(table(values))
    assert f"| hidden | 30 x 3 | {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} |" in text
    assert f"{np.std(values, ddof=0):.3f}" not in text
    assert "over 3 seeds" in text and "paper" not in text
    assert "- the prior helps, single: undecided (differences in mIoU by seed: +0.013, -0.250)" in text
    assert "| 0.500 ± 0.000 | 0.250 ± 0.000 |" in summaries.markdown(table((0.5,)))


def test_the_papers_numbers_stand_apart():
    text = summaries.markdown(table((0.5, 0.6), paper=(0.4014, 0.7067)))
    assert "| row | views | single mIoU | single acc. | paper, single |" in text
    assert "| 0.401, 0.707 |" in text and "other images" in text


def test_a_verdict_weighs_the_mean_by_its_standard_error():
    """Of differences of 0.1 and 0.3 it is 0.1, half of the mean, as it is for a sample: a little more is too much."""
    assert summaries.verdict(scores(0.6, 0.799), scores(0.5, 0.5), "single")["verdict"] == "reproduced"
    assert summaries.verdict(scores(0.6, 0.801), scores(0.5, 0.5), "single")["verdict"] == "undecided"
