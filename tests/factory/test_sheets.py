"""Contact sheets: every picture of the first identities."""

import pytest

from dnerf_jax.factory import loading, sheets


@pytest.mark.slow
def test_a_sheet_has_a_row_for_every_identity(tiny_dataset):
    data = loading.load(tiny_dataset)
    whole = sheets.contact_sheet(data)
    assert whole.shape[0] >= 6 * 16 and whole.shape[1] >= 2 * 3 * 16  # image, mask and depth of two views
    few = sheets.contact_sheet(data, identities=2, views=1)
    assert few.shape[0] * 3 == pytest.approx(whole.shape[0], abs=16)
    assert few.shape[1] * 2 == pytest.approx(whole.shape[1], abs=16)
    images = sheets.contact_sheet(loading.load(tiny_dataset, only=["image"]))
    assert images.shape[1] * 3 == pytest.approx(whole.shape[1], abs=16)
    assert (data[0]["image"] == images[4:20, 4:20]).all() or any(
        (data[0]["image"] == images[y : y + 16, x : x + 16]).all() for y in range(8) for x in range(8)
    )
