"""A tiny EG3D network with all kinds of tensors and attributes of the real ones, as record and as pickle."""

import dataclasses
from pathlib import Path

import foreign
from flax import traverse_util

from converters import golden, layout
from converters.pickles import Record
from dnerf_jax.models import generator
from dnerf_jax.models.generator import GeneratorConfig, RenderingConfig
from dnerf_jax.networks.superresolution import PRESETS

# All three planes differ, and none is where EG3D has it.
AXES = (
    ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
)
CLASS = "SuperresolutionHybrid2X"
CONFIG = GeneratorConfig(
    z_dim=4,
    w_dim=6,
    plane_resolution=8,
    plane_channels=4,
    channel_base=40,
    channel_max=8,
    conv_clamp=None,
    feature_channels=5,
    decoder_hidden=7,
    decoder_lr_mul=0.5,
    neural_rendering_resolution=4,
    plane_axes=AXES,
    c_scale=0.75,
    superresolution=dataclasses.replace(PRESETS[CLASS], input_resolution=8, widths=(6, 3)),
    rendering=RenderingConfig(
        depth_resolution=6,
        depth_resolution_importance=5,
        ray_start=0.5,
        ray_end=2.5,
        box_warp=1.5,
        white_back=True,
        avg_camera_radius=1.7,
        avg_camera_pivot=(0.0, 0.25, 0.5),
    ),
)


def case() -> dict:
    """The network in the format of recorded cases."""
    variables = traverse_util.flatten_dict(generator.abstract(CONFIG).variables)
    names = {layout.torch_name(path): leaf.shape for path, leaf in variables.items()}
    parameters = {name: layout.torch_shape(name, shape) for name, shape in names.items()}
    filters = layout.filter_names(parameters) | {"superresolution.resample_filter"}
    rendering = dataclasses.asdict(CONFIG.rendering)
    return {
        "parameters": parameters | dict.fromkeys(filters, (4, 4)),
        "init_kwargs": {
            **{"z_dim": CONFIG.z_dim, "c_dim": CONFIG.c_dim, "w_dim": CONFIG.w_dim, "img_resolution": 16},
            **{"channel_base": 40, "channel_max": 8, "num_fp16_res": 0, "sr_num_fp16_res": 4},
        },
        "rendering_kwargs": {
            **rendering,
            **{"clamp_mode": "softplus", "superresolution_module": f"training.superresolution.{CLASS}"},
            **{
                "superresolution_noise_mode": "none",
                "sr_antialias": True,
                "decoder_lr_mul": 0.5,
                "c_scale": 0.75,
            },
            **{"c_gen_conditioning_zero": False, "reg_type": "l1", "density_reg": 0.25},
        },
        "plane_axes": AXES,
        "neural_rendering_resolution": 4,
    }


def record() -> Record:
    """The network as reading its pickle would give it."""
    network = golden.record_from(case())
    network.child("superresolution").attributes["input_resolution"] = 8
    return network


def write(path: Path, network: Record | None = None, **others) -> Path:
    """Writes a pickle such as EG3D's training does, the network as "G_ema"; `others` are further entries."""
    network = foreign.network(record() if network is None else network)
    path.write_bytes(foreign.dumps({"training_set_kwargs": {"path": "x"}, "G_ema": network, **others}))
    return path
