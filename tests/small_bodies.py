"""The bodies' template with a generator that is tiny and random, for what no picture of it has to be good for."""

import dataclasses

import jax
import numpy as np

from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import articulated, scenes
from dnerf_jax.models import generator as eg3d
from dnerf_jax.models.generator import Generator
from dnerf_jax.networks.superresolution import SuperresolutionConfig

NARROW = ("w_dim", "plane_resolution", "plane_channels", "channel_base", "channel_max")
NARROW += ("feature_channels", "decoder_hidden")


def small(random_arrays, tiny_config):
    """The embedded bodies as narrow as the tiny generator, and of 32 x 32 pixels, as solid as they are."""
    model = checkpoints.load("bodies")
    known = model.generator.config
    config = dataclasses.replace(
        known,
        **{name: getattr(tiny_config, name) for name in NARROW},
        neural_rendering_resolution=16,
        superresolution=SuperresolutionConfig(input_resolution=16, widths=(8, 8), upsample=(False, True)),
        rendering=dataclasses.replace(known.rendering, depth_resolution=6, depth_resolution_importance=6),
        articulation=dataclasses.replace(known.articulation, shape_hidden=8),
    )
    variables = random_arrays(eg3d.abstract(config).variables, 1)
    last = variables["params"]["decoder"]["fc1"]
    last["bias"] = last["bias"].at[0].set(200.0)  # of density: solid
    variables["template"] = model.generator.variables["template"]
    return model.replace(generator=Generator(config, variables))


def looked_at(model):
    """A pack of two of its bodies, each in a trained pose: grey images, masks of stripes."""
    made, count = model.generator, 2
    size = made.config.image_resolution
    stripes = np.arange(size) * model.label_map.num_classes // size
    camera = scenes.default_camera(made.config, np.float32([0.0, 0.4]))
    return packs.Annotations(
        images=np.full((count, size, size, 3), 128, np.uint8),
        masks=np.broadcast_to(stripes.astype(np.uint8)[:, None], (count, size, size)),
        z=np.random.default_rng(0).standard_normal((count, made.config.z_dim)),
        cam2world=camera.cam2world,
        intrinsics=camera.intrinsics,
        latent_id=np.arange(count),
        label_map=model.label_map,
        fingerprint=model.fingerprint,
        name="small bodies",
        pose=jax.tree.map(np.asarray, articulated.known(made.config.articulation, made.variables["template"], [0, 1])),
    )
