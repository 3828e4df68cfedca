"""Edits a scene by its mask, as section 5.4 of the paper does.

Command: python -m dnerf_jax.edit --config edit --scene out/inversion/scene --edit "open mouth" --out out/edit
Hardware: two CPU cores; a minute or two, most of it in W+, which compares final pictures and masks.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.editing.plan.Settings documents its fields."""
    rays = dict(rays=768, whole=False, newton=0)
    return ConfigDict(
        dict(
            seed=0,
            stages=("z", "w+"),
            enough=0.95,
            terms=dict(label=1.0, rgb=3.0, perceptual=0.1, identity=0.1, staying=0.0),
            class_balance=0.5,
            margin=0.02,
            least=0.05,
            views=(-25.0, 25.0),
            z=rays | dict(steps=60, learning_rate=1e-1),
            w=rays | dict(steps=60, learning_rate=1e-2),
            wplus=rays | dict(steps=100, learning_rate=2e-2, whole=True),
            tune=rays | dict(steps=30, learning_rate=1e-3),
        )
    )
