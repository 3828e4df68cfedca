"""Makes a labelled dataset of heads: 200 identities in four views each.

Command: python -m dnerf_jax.generate --config heads_dataset --checkpoint out/heads/model --out out/dataset
Hardware: any; two CPU cores made 7 views a second when they had nothing else to do, so it takes some two minutes.
Result: 800 views of 256 x 256 pixels in shards, 78 MB; its README.md describes them.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.factory.plan.Plan documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            num_identities=200,
            views_per_identity=4,
            viewpoints=dict(
                distribution="uniform",
                yaw=30.0,
                pitch=8.0,
                fixed=(),
            ),
            truncation_psi=1.0,
            splits=(("train", 8), ("validation", 1), ("test", 1)),
            modalities=("image", "mask", "depth_z", "points"),
            depth="uint16",
            shard_size=20,
            batch=1,
            memory_mib=128,
            skip_empty=True,
            cloud=dict(
                num_points=2048,
                voxel_size=0.005,
            ),
            mesh_resolution=128,
            mesh_level=None,
            drops=dict(
                max_border_opacity=None,
                min_confidence=None,
                min_area=(),
                max_area=(),
                attempts=50,
            ),
            poses=dict(  # of checkpoints of bodies, which heads are not
                source="",
                in_place=False,
                order="drawn",
            ),
        )
    )
