"""Contact sheets of datasets."""

import numpy as np

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.viz import pictures


def contact_sheet(data: Dataset, *, identities: int = 8, views: int = 4) -> np.ndarray:
    """The first identities and views of a dataset, a row each: images, masks and depth; (H, W, 3) uint8."""
    each = data.plan.views_per_identity
    rows = []
    for start in range(0, min(identities * each, len(data)), each):
        row = []
        for record in (data[start + view] for view in range(min(views, each))):
            row.append(record["image"])
            if "mask" in record and data.label_map is not None:
                row.append(data.label_map.colorize(record["mask"]))
            if "depth_z" in record:
                row.append(pictures.depth_picture(record["depth_z"]))
        rows.append(row)
    return pictures.sheet(rows)
