"""Fits the embedded heads backbone: a small EG3D, from z ~ N(0, I) to the renders of the heads world.

Command: python -m dnerf_jax.pretrain --config heads_backbone_cpu --workdir out/heads_backbone
Hardware: two CPU cores; 38 minutes to render the views, 100 and 94 for the two stages of rays, 24 for the
super-resolution, resumable: the times of the embedded weights, which have 26.1 dB on held-out heads (python -m
dnerf_jax.heldout). They were made in three sittings, not yet by this command at once, each from the float16 result of
the one before:
1. This run's first stage, but for the learning rate, which until step 4,500 fell as for 8,500 steps and until 4,750 as
   for 7,500 (the heads of commit ffa71cb).
2. 2,000 steps of the second stage on half of the identities, and 600 of super-resolution with 512 views (b83ad90):
   --config.start_from=FOLDER --config.steps=0 --config.finish_steps=2000 --config.superresolution_steps=600
   --config.superresolution_views=512 --config.data.identities=6000; its cosine was that of 2,400 steps until step 250.
3. 800 steps of the second stage on all of them, and 400 of super-resolution: --config.start_from=FOLDER
   --config.steps=0 --config.finish_steps=800 --config.finish_learning_rate=2e-3 --config.superresolution_steps=400
"""

from ml_collections import ConfigDict

from dnerf_jax.ops import triplane


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.pretraining.plan.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            world="heads",
            start_from="",
            generator=dict(
                z_dim=52,
                c_dim=0,
                w_dim=128,
                mapping_layers=1,
                plane_resolution=128,
                plane_channels=24,
                plane_axes=triplane.ORTHOGONAL_AXES,
                channel_base=6144,
                channel_max=128,
                conv_clamp=256.0,
                feature_channels=32,
                decoder_hidden=64,
                neural_rendering_resolution=128,
                superresolution=dict(input_resolution=128, widths=(32, 16), upsample=(False, True), resize_larger=True),
                rendering=dict(
                    depth_resolution=24,
                    depth_resolution_importance=24,
                    ray_start=2.27,
                    ray_end=3.15,
                    box_warp=0.84,
                    white_back=True,
                    metres_per_unit=0.55,  # the mean of the heads, which differ by a tenth (standard deviation)
                ),
            ),
            data=dict(identities=12000, views=2, resolution=256, held_out=200, processes=2, posed=0),
            steps=6400,
            finish_steps=2800,
            superresolution_steps=1000,
            superresolution_views=1536,
            refine_at=(1000, 4500),
            identities_per_step=12,
            rays_per_identity=256,
            finish_rays_per_identity=512,
            stratified_samples=8,
            importance_samples=5,
            guided_samples=5,
            guide_spread=0.025,
            learning_rate=1.5e-2,
            final_learning_rate=3e-4,
            finish_learning_rate=4e-3,
            warmup_steps=100,
            style_init=0.1,
            mapping_boost=100.0,
            superresolution_learning_rate=1e-2,
            ema_decay=0.998,
            color_weight=10.0,
            depth_weight=1.0,
            opacity_weight=0.5,
            gradient_weight=0.2,
            shape_weight=0.0,
            save_every=250,
            sheet_every=1000,
        )
    )
