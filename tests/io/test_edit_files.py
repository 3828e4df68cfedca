"""Lists of edits as JSON: there and back, and every mistake is named with what was meant."""

import json

import pytest

from dnerf_jax.io import edit_files
from dnerf_jax.ops.mask_edits import Ellipse, Grow, Move, Polygon, Scale, Shrink, Swap
from dnerf_jax.worlds.heads import LABELS, edits

EVERY = (
    Grow("hair", 0.1, only_over=("background",), towards="down"),
    Shrink("nose", 0.01),
    Move("eye", 0.1, -0.1, trail="skin", bend=True),
    Scale("eye", 1.0, 2.0),
    Swap("hair", "skin", box=(0.0, 0.0, 0.5, 1.0)),
    Polygon("hair", ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2))),
    Ellipse("eye", (0.5, 0.5), 0.1, 0.05),
)
GROW = {"op": "grow", "label": "hair", "by": 0.1}


@pytest.mark.parametrize("operations", [EVERY, *edits.EDITS.values()])
def test_there_and_back(tmp_path, operations):
    (tmp_path / "edits.json").write_text(json.dumps(edit_files.to_data(operations)))
    assert edit_files.read_edits(tmp_path / "edits.json", LABELS) == operations


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"it holds \[\], expected a list of at least one operation"),
        ({"op": "grow"}, "it holds an object, expected a list"),
        (["grow"], "operation 1 is 'grow', expected an object whose op is one of grow, shrink"),
        ([GROW, {"label": "hair"}], "operation 2 is .*expected an object whose op"),
        ([GROW | {"op": "gro"}], "operation 1 has the unknown op 'gro'; did you mean 'grow'"),
        ([GROW | {"over": ["skin"]}], r"operation 1 \(grow\) has no field 'over'; did you mean 'only_over'"),
        ([{"op": "grow", "label": "hair"}], r"operation 1 \(grow\) lacks the field 'by'"),
        ([GROW | {"by": "wide"}], r"operation 1 \(grow\)\.by must be float"),
        ([GROW | {"by": 20}], r"\.by is 20.*at most 1"),
        ([GROW | {"towards": "dwn"}], "did you mean 'down'"),
        ([GROW | {"label": "hare"}], "no class 'hare'; did you mean 'hair'"),
        ([{"op": "polygon", "label": "hair", "points": [[0, 0, 1]]}], r"points\[0\] must have 2 entries"),
    ],
)
def test_mistakes_are_named(tmp_path, content, message):
    (tmp_path / "edits.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        edit_files.read_edits(tmp_path / "edits.json", LABELS)
    assert "edits.json cannot be read as a list of edits" in str(caught.value)
