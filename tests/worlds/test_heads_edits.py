"""The five edits of heads: on labelled views from all sides they change their class, clearly, and nothing far away."""

import numpy as np
import pytest

from dnerf_jax.io import files, png
from dnerf_jax.ops import mask_edits
from dnerf_jax.worlds.heads import LABELS, edits


@pytest.mark.parametrize("name", edits.EDITS)
@pytest.mark.parametrize("resolution", [256, 128])
def test_the_class_changes_clearly(name, resolution):
    operations = edits.EDITS[name]
    label = LABELS.names.index(operations[0].label)
    for index in range(0, 90, 16):
        mask = png.load_mask(files.ASSETS / "heads_test" / "masks" / f"{index:04d}.png", LABELS)
        mask = mask[:: 256 // resolution, :: 256 // resolution]
        after = mask_edits.apply(mask, operations, LABELS)
        before_class, after_class = mask == label, after == label
        agreement = (before_class & after_class).sum() / (before_class | after_class).sum()
        assert agreement < 0.85, "an edit that is hardly one cannot be measured"
        kept = [LABELS.names.index(n) for n in ("nose", "ear", "eye", "hair") if n not in str(operations)]
        for other in kept:
            np.testing.assert_array_equal(mask == other, after == other)
