"""The ablations' tables as data: their rows, what they are scored on, what the paper claims.

Tables 4 and 5 of the paper: every row is the paper's form of the branch with the changes that the row lists. The
paper's numbers stand beside ours for the direction alone: they are of AFHQ cats, inverted photos and drawn labels.

Three tables are ours: `features`, which scales a branch can do without, and `tuning`, what configs/heads.py was chosen
from, both scored on views that are in no other pack; and `ceiling`, the same branch with ever more labels, which tells
what the labels limit from what the backbone does.
"""

import dataclasses
from typing import Any

from dnerf_jax.training.scoring import EMBEDDED
from dnerf_jax.worlds.labelled import Pack
from dnerf_jax.worlds.streams import SEEDS

LATENTS_PER_SEED = 1000  # of the training packs' stream; seeds have different ones
PAPER_FORM: dict[str, Any] = {"features": "hidden", "channels": "split", "aggregation": "sum"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: a name, changes to the branch, the labelled views, and the paper's mIoU and accuracy.

    views: latents x views of each; views of one each look from the left, the front and the right in turn.
    paper: (mIoU, accuracy) on (single images, video), where the paper has them.
    training: changes to the other settings of a run.
    """

    name: str
    changes: dict[str, Any]
    views: tuple[int, int] = (30, 3)
    paper: tuple[tuple[float, float] | None, ...] = (None, None)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)


FIGURES = ("5", "S10", "S12", "S13", "choosing", "features", "confidence")
SCALES = (4, 8, 16, 32, 64, 128)  # the blocks of the embedded heads
TABLES: dict[str, tuple[Row, ...]] = {
    "4": (
        Row("last", PAPER_FORM | {"features": "last"}, paper=((0.4014, 0.7067), None)),
        Row("hidden", PAPER_FORM, paper=((0.4796, 0.7884), (0.6913, 0.9268))),
        Row("skip", PAPER_FORM | {"features": "skip"}),
        Row("hidden+last", PAPER_FORM | {"features": "hidden+last"}),
        Row("no-prior", PAPER_FORM | {"density_prior": False}, paper=((0.4728, 0.7813), (0.6899, 0.9188))),
        Row("mean", PAPER_FORM | {"aggregation": "mean"}),
        Row("none", PAPER_FORM | {"aggregation": "none"}),
        Row("concatenated", PAPER_FORM | {"channels": "concatenated"}),
        Row("all", PAPER_FORM | {"channels": "all"}),
        Row("all-none", PAPER_FORM | {"channels": "all", "aggregation": "none"}),
        Row("default", {}),
    ),
    "5": (
        Row("9", PAPER_FORM, (3, 3)),
        Row("30", PAPER_FORM, (10, 3), ((0.4394, 0.7716), (0.6138, 0.8892))),
        Row("45", PAPER_FORM, (15, 3), ((0.4588, 0.7778), (0.6752, 0.9148))),
        Row("hidden", PAPER_FORM, paper=((0.4795, 0.7884), (0.6913, 0.9268))),
        Row("300", PAPER_FORM, (100, 3)),
        Row("30x1", PAPER_FORM, (30, 1)),
        Row("90x1", PAPER_FORM, (90, 1)),
        Row("300x1", PAPER_FORM, (300, 1)),
    ),
    "ceiling": (
        Row("default", {}),
        Row("default-90x1", {}, (90, 1)),
        Row("default-300x1", {}, (300, 1), training={"steps": 1200}),
        Row("default-1000x1", {}, (1000, 1), training={"steps": 2000}),
    ),
    "features": (
        Row("default", {}),
        *(Row(f"without-{x}", {"scales": tuple(scale for scale in SCALES if scale != x)}) for x in SCALES),
        Row("without-last", {"features": "hidden"}),
        *(Row(f"from-{x}", {"scales": SCALES[SCALES.index(x) :]}) for x in SCALES[2:]),
        Row("only-last", {"features": "last"}),
        Row("sparse", {}, training={"sparsity": 0.4}),
    ),
    "tuning": (
        Row("default", {}),
        *(Row(f"learning_rate-{x}", {}, training={"learning_rate": x}) for x in (1e-2, 4e-2)),
        *(Row(f"steps-{x}", {}, training={"steps": x}) for x in (200, 800)),
        *(Row(f"class_balance-{x}", {}, training={"class_balance": x}) for x in (0.0, 0.1, 0.4)),
        *(Row(f"coarse_dropout-{x}", {}, training={"coarse_dropout": x}) for x in (0.0, 0.25)),
        *(Row(f"hidden-{x}", {"hidden": x}) for x in (32, 128)),
        *(Row(f"superresolution_width-{x}", {"superresolution_width": x}) for x in (16, 64)),
        *(Row(f"samples_kept-{x}", {"samples_kept": x}) for x in (3, 10)),
    ),
}
# What the rows of a table are scored on: names of embedded packs, or one to render. The embedded video is of one head
# whose mouth and ears are hardly seen, so there are further videos, of fewer frames each.
VIDEOS = Pack("videos", SEEDS["videos"], 10, tuple((float(yaw), 0.0) for yaw in range(-30, 31, 5)))
VALIDATION = Pack("validation", SEEDS["validation"], 60, None)
SETS: dict[str, dict[str, str | Pack]] = dict.fromkeys(("4", "5", "ceiling"), EMBEDDED | {"videos": VIDEOS})
SETS["features"] = SETS["tuning"] = {"validation": VALIDATION}
# What the paper claims: the first row is better than the second.
CLAIMS: dict[str, dict[str, tuple[str, str]]] = {
    "ceiling": {"more labels help": ("default-1000x1", "default")},
    "features": {},
    "tuning": {},
    "4": {
        "multiscale features help": ("hidden", "last"),
        "the density prior helps": ("hidden", "no-prior"),
    },
    "5": {"45 images are better than 30": ("45", "30"), "90 images are better than 45": ("hidden", "45")},
}
