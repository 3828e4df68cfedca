"""What trainings on the data cost, counted, on any machine: python -m benchmarks.downstream [--json FILE]

No training is run or compiled: XLA counts the operations of one step of each configuration as they are traced, so
configurations for a GPU are counted on a CPU too. What a machine makes of them per second is its own.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import measure
from dnerf_jax import cli
from dnerf_jax.models import point_segmenters, segmenters
from dnerf_jax.models.point_segmenters import PointSegmenterConfig
from dnerf_jax.models.segmenters import SegmenterConfig
from dnerf_jax.training.points import learning as of_points
from dnerf_jax.training.points.plan import Settings as PointSettings
from dnerf_jax.training.segmentation import learning as of_images
from dnerf_jax.training.segmentation.batches import Batch
from dnerf_jax.training.segmentation.plan import Settings
from dnerf_jax.worlds import heads

CONFIGURATIONS = "deeplab,deeplab_cpu,transfer,finetuned,pointnet,pointnet_cpu"
COLUMNS = {
    "configuration": "configuration",
    "parameters": "parameters, millions",
    "batch": "views or clouds a step",
    "gflop": "GFLOP a step",
    "steps": "steps",
    "pflop": "PFLOP in all",
    "state_mib": "parameters and moments, MiB",
}


def main(configs: str = CONFIGURATIONS, json: str = "") -> dict[str, Any]:
    """Counts what trainings of segmentation networks cost.

    configs: configurations of dnerf_jax.downstream, separated by commas
    json: file for the numbers
    """
    rows = [row(name) for name in configs.split(",")]
    return measure.report("benchmarks.downstream", {"classes": heads.LABELS.num_classes}, rows, COLUMNS, json)


def row(name: str) -> dict[str, Any]:
    """The count of one configuration, with the classes of the heads world."""
    settings = cli.load_settings(name, Settings | PointSettings)
    labels = heads.LABELS
    if isinstance(settings, Settings):
        settings = of_images.fitted(settings, labels, name)
        config = SegmenterConfig(settings.network, settings.resolution, labels)
        size, make, learning = (settings.batch, settings.resolution, settings.resolution), segmenters, of_images
        batch: Any = Batch(_shape(*size, 3), _shape(*size))
        static: Any = config
    else:
        network = dataclasses.replace(settings.network, num_classes=labels.num_classes)
        config = PointSegmenterConfig(network, settings.points, labels)
        size, make, learning = (settings.batch, settings.points), point_segmenters, of_points
        batch = of_points.Batch(_shape(*size, 3, dtype=jnp.float32), _shape(*size))
        static = network
    state = jax.eval_shape(lambda: of_images.create_state(settings, make.init(config, jax.random.key(0))))
    flop = learning.train_step.lower(settings.of_step, static, state, batch).cost_analysis()["flops"]
    return {
        "configuration": name,
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)) / 1e6,
        "batch": settings.batch,
        "gflop": flop / 1e9,
        "steps": settings.steps,
        "pflop": flop * settings.steps / 1e15,
        "state_mib": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)) / 2**20,
    }


def _shape(*size: int, dtype: Any = jnp.uint8) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype)


if __name__ == "__main__":
    cli.door(main)
