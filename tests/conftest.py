"""Tests run on the CPU, split into 4 simulated devices; both must be said before JAX is imported."""

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the tests' time is compilation, which takes half as long without LLVM's expensive passes.
FLAGS = (
    "--xla_force_host_platform_device_count=4",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",  # workers have a core each, and parts to be linked cost time
)
os.environ["XLA_FLAGS"] = " ".join((*FLAGS, os.environ.get("XLA_FLAGS", "")))
# What takes long is compiled once for all workers, kernels and commands of a run, which inherit this folder.
CACHE = None if "JAX_COMPILATION_CACHE_DIR" in os.environ else tempfile.TemporaryDirectory(prefix="dnerf_jax_tests_")
if CACHE is not None:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import small_heads  # noqa: E402
from small_heads import small_assets, small_checkpoint, small_model  # noqa: E402, F401

from dnerf_jax import cli  # noqa: E402
from dnerf_jax.factory import description, provenance  # noqa: E402
from dnerf_jax.factory.cards import card  # noqa: E402
from dnerf_jax.factory.plan import VIEWS, Cloud, Plan, shards  # noqa: E402
from dnerf_jax.factory.runs.work import Job, Worker  # noqa: E402
from dnerf_jax.io import checkpoints, packs  # noqa: E402
from dnerf_jax.io.packs import Annotations  # noqa: E402
from dnerf_jax.models import generator as eg3d  # noqa: E402
from dnerf_jax.models import semantic  # noqa: E402
from dnerf_jax.models.generator import Generator, GeneratorConfig, RenderingConfig  # noqa: E402
from dnerf_jax.models.model import Model  # noqa: E402
from dnerf_jax.models.semantic import SemanticConfig  # noqa: E402
from dnerf_jax.networks.superresolution import SuperresolutionConfig  # noqa: E402
from dnerf_jax.ops.labels import LabelMap  # noqa: E402
from dnerf_jax.training.editing import plan as editing  # noqa: E402

# The tests of all that draws: with them a key that is drawn from twice is an error, to look for which takes long.
DRAWING = ("experiments/test_textures", "factory/test_draws", "models", "networks", "ops", "training", "viz")
# Tracing makes many objects that stay: it takes a fifth less time where garbage is looked for less often.
gc.freeze()
gc.set_threshold(50_000, 20, 50)

ROOT = Path(__file__).parent.parent

# A backbone and its pretraining, of seconds.
BACKBONE = {
    "generator": {
        "w_dim": 16,
        "plane_resolution": 8,
        "plane_channels": 4,
        "channel_base": 128,
        "channel_max": 16,
        "feature_channels": 8,
        "decoder_hidden": 16,
        "neural_rendering_resolution": 8,
        "superresolution": {"input_resolution": 8, "widths": (8, 8)},
        "rendering": {"depth_resolution": 6, "depth_resolution_importance": 6},
    },
    "data": {"identities": 5, "views": 2, "resolution": 16, "held_out": 1, "processes": 1},
    "steps": 3,
    "finish_steps": 2,
    "superresolution_steps": 2,
    "superresolution_views": 4,
    "refine_at": (1,),
    "identities_per_step": 2,
    "rays_per_identity": 16,
    "finish_rays_per_identity": 16,
    "warmup_steps": 1,
    "save_every": 2,
    "sheet_every": 100,
}

# A branch of its labels, likewise.
BRANCH = {
    "semantic": {
        "num_classes": 5,
        "samples_kept": 6,
        "hidden": 16,
        "feature_channels": 8,
        "superresolution_width": 8,
    },
    "steps": 20,
    "views_per_step": 4,
    "patch": 6,
    "coarse_dropout": 0.2,
    "save_every": 5,
}

# A small dataset.
DATASET = {
    "num_identities": 3,
    "views_per_identity": 2,
    "shard_size": 2,
    "cloud": {"num_points": 0, "voxel_size": 0.01},
}

EFFICIENTNET = {"repeats": (1,) * 7, "widths": (2, 2, 4, 4, 4, 6, 6), "stem": 2, "head": 8, "expansion": 2}
VIT = {"backbone": {"width": 8, "depth": 1, "heads": 2, "grid": 2}, "width": 0, "dropout": 0.1}

# A segmentation network, and its training, likewise.
DEEPLAB = {
    "network": {
        "backbone": {"blocks": (1, 1, 1, 1), "bottleneck": False, "width": 4, "output_stride": 8},
        "width": 8,
        "dropout": 0.1,
    },
    "resolution": 16,
    "test": (),
    "steps": 6,
    "batch": 4,
    "learning_rate": 1e-2,
    "warmup_steps": 2,
    "save_every": 4,
    "score_every": 3,
}

# A network for points, likewise.
POINTNET = {
    "network": {"widths": (4, 4, 4, 6, 8), "head": (6, 6, 4), "transform": (4, 4, 6, 4, 4), "dropout": 0.1},
    "points": 12,
    "steps": 6,
    "batch": 4,
    "learning_rate": 1e-2,
    "warmup_steps": 2,
    "save_every": 4,
}

# What makes each of configs/*.py run on the tiny generator, or one like it, in seconds.
TINY = {
    "heads.py": BRANCH,
    "bodies.py": BRANCH,
    "heads_backbone_cpu.py": BACKBONE,
    "bodies_backbone_cpu.py": BACKBONE
    | {
        "data": BACKBONE["data"] | {"posed": 3},
        "steps": 2,
        "finish_steps": 0,
        "superresolution_steps": 1,
        "superresolution_views": 1,  # as many as are held out: they share a program
        "refine_at": (),
    },
    "heads_encoder.py": {
        "network": {"resolution": 16, "widths": (6, 8, 8, 12), "blocks": 1, "hidden": 10},
        "data": {"identities": 6, "views": 2, "held_out": 2, "processes": 1},
        "steps": 6,
        "batch": 4,
        "warmup_steps": 1,
        "save_every": 4,
        "score_every": 3,
    },
    "datasetgan_cpu.py": {
        "generator": {"w_dim": 8, "resolution": 8, "channel_base": 64, "channel_max": 12},
        "data": {"identities": 5, "held_out": 1, "processes": 1},
        "ensemble": {"members": 3, "widths": (6, 4), "pixels": 20, "steps": 3, "batch": 8},
    }
    | {"steps": 3, "batch": 2, "refine_at": (1,), "warmup_steps": 1, "save_every": 2},
    "heads_dataset.py": DATASET,
    "bodies_dataset.py": DATASET,
    "deeplab_cpu.py": DEEPLAB,
    "deeplab.py": DEEPLAB | {"optimizer": "sgd", "learning_rate": 1e-1},
    "pointnet.py": POINTNET,
    "pointnet_cpu.py": POINTNET,
    "dinov2.py": DEEPLAB | {"network": VIT, "trained": "all"},
    "transfer.py": DEEPLAB | {"network": {"backbone": EFFICIENTNET | {"output_stride": 8}, "width": 0, "dropout": 0.1}},
    "finetuned.py": DEEPLAB
    | {"network": {"backbone": EFFICIENTNET | {"output_stride": 32}, "width": 0, "pyramid": 6, "dropout": 0.1}},
    "invert.py": {
        "candidates": 2,
        "trial_steps": 2,
        "z": {"steps": 4, "rays": 32, "newton": 2},
        "w": {"steps": 2, "rays": 32},
        "wplus": {"steps": 2, "rays": 32},
        "tune": {"steps": 2, "rays": 16, "perceptual": 0.0},  # whose network needs larger images
    },
    "edit.py": {
        "views": (-25.0,),
        "z": {"steps": 2, "rays": 32},
        "wplus": {"steps": 2, "rays": 32},
        "tune": {"steps": 2, "rays": 32},
    },
}


@pytest.fixture(scope="module", autouse=True)
def _few_memory_maps():
    """Forgets what was compiled once it takes most of the memory maps that Linux grants a process: 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 48_000:
        jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def _keys_are_drawn_from_once(request):
    with jax.debug_key_reuse(request.path.relative_to(ROOT / "tests").as_posix().startswith(DRAWING)):
        yield


@pytest.fixture
def key() -> jax.Array:
    """The same JAX key in every test."""
    return jax.random.key(0)


@pytest.fixture
def generator() -> np.random.Generator:
    """NumPy's random numbers, the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_config() -> GeneratorConfig:
    """The smallest generator that has every part of a real one: camera conditioning, clamp, noise, two scales."""
    return GeneratorConfig(
        z_dim=8,
        c_dim=25,
        w_dim=16,
        plane_resolution=16,
        plane_channels=4,
        channel_base=128,
        channel_max=16,
        feature_channels=8,
        decoder_hidden=16,
        neural_rendering_resolution=8,
        superresolution=SuperresolutionConfig(input_resolution=8, widths=(8, 8), upsample=(False, True)),
        rendering=RenderingConfig(depth_resolution=6, depth_resolution_importance=6),
    )


@pytest.fixture(scope="session")
def random_arrays() -> Callable:
    """Draws arrays for a template of variables with NumPy, which compiles nothing: random_arrays(template, seed)."""

    def draw_tree(template, seed):
        draws = np.random.default_rng(seed)

        def draw(path, leaf):
            names = [entry.key for entry in path]
            weight = names[-1] in ("weight", "const", "noise_const", "first_weight")
            # No bias, strength or average is zero, as they are by initialisation.
            scale = 1.0 if weight else 0.2
            if weight and "mapping" in names and "embed" not in names:
                scale = 100.0
            mean = 1.0 if names[-2:] == ["affine", "bias"] else 0.0
            return jnp.asarray(np.float32(mean + scale * draws.standard_normal(leaf.shape)))

        return jax.tree_util.tree_map_with_path(draw, template)

    return draw_tree


@pytest.fixture(scope="session")
def tiny_model(tiny_config: GeneratorConfig, random_arrays: Callable) -> Model:
    """A random generator without a semantic branch; rays through it are stopped to all degrees."""
    variables = random_arrays(eg3d.abstract(tiny_config).variables, 1)
    last = variables["params"]["decoder"]["fc1"]
    # Density that varies strongly around a mean where half of the light passes.
    weight, bias = np.array(last["weight"]), np.array(last["bias"])
    weight[:, 0], bias[0] = 30.0 * (weight[:, 0] - weight[:, 0].mean()), 0.0
    last.update(weight=jnp.asarray(weight), bias=jnp.asarray(bias))
    return Model(Generator(tiny_config, variables), info=(("license", "none"), ("origin", "random numbers")))


@pytest.fixture(scope="session")
def tiny_semantic_model(tiny_model: Model, random_arrays: Callable) -> Model:
    """The same generator with a random semantic branch of five classes on all its features."""
    config = SemanticConfig(
        num_classes=5,
        features="hidden+last",
        channels="all",
        aggregation="none",
        hidden=16,
        feature_channels=8,
        superresolution_width=8,
    )
    branch = semantic.abstract(config, tiny_model.generator.config)
    names = ("background", "skin", "eye", "mouth", "hair")
    colors = tuple((40 * i, 20 * i, 255 - 40 * i) for i in range(5))
    return tiny_model.replace(
        semantic=branch.replace(params=random_arrays(branch.params, 2)), label_map=LabelMap(names, colors)
    )


@pytest.fixture(scope="session")
def tiny_pack(tiny_model: Model, tiny_semantic_model: Model) -> Annotations:
    """Nine views, three of each of three latents: the tiny model's own images, labelled by where the points lie."""
    return small_heads.looked_at(tiny_model, tiny_semantic_model.label_map)


@pytest.fixture(scope="session")
def tiny_assets(tiny_model: Model, tiny_pack: Annotations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like dnerf_jax/assets with the tiny generator and packs of it: six views to train, three to test."""
    folder = tmp_path_factory.mktemp("assets")
    checkpoints.save(folder / "heads", tiny_model)
    for world in ("heads", "bodies"):
        packs.save(folder / f"{world}_train", tiny_pack[:6])
    packs.save(folder / "heads_test", tiny_pack[6:])
    packs.save(folder / "heads_video", tiny_pack[6:])
    return folder


@pytest.fixture(scope="session")
def tiny_plan() -> Plan:
    """Six identities in two views each, with all that a dataset can have but meshes; three shards."""
    return Plan(
        num_identities=6,
        views_per_identity=2,
        splits=(("train", 2), ("test", 1)),
        modalities=(*VIEWS, "points"),
        shard_size=2,
        cloud=Cloud(num_points=16, voxel_size=0.01),
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_semantic_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model with a branch."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    checkpoints.save(folder, tiny_semantic_model)
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tiny_plan: Plan, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset of that plan and that model. Nobody changes it: copy it first."""
    out = tmp_path_factory.mktemp("dataset") / "tiny"
    worker = Worker(Job(tiny_plan, str(tiny_checkpoint), str(out)))
    model = worker.model
    description.write(tiny_plan, model.generator.config, model.label_map, provenance.origin(model), out, begun=False)
    for shard in shards(tiny_plan):
        worker.make(shard)
    card.write(out)
    return out


@pytest.fixture(scope="session")
def shrunk(request: pytest.FixtureRequest) -> Callable:
    """Loads one of configs/*.py as changed by TINY, with the tiny pack in the embedded one's place: shrunk(name)."""

    def load(name):
        config = cli.load_config(ROOT / "configs" / name)
        config.update(TINY[name])
        if "annotations" in config:
            # Only here, because the pack is rendered.
            config.annotations = str(request.getfixturevalue("tiny_assets") / config.annotations)
        return config

    return load


@pytest.fixture(scope="session")
def edit_settings() -> editing.Settings:
    """Of an edit: few steps of few rays."""
    stage = editing.Stage(steps=4, learning_rate=2e-2, rays=24, whole=False, newton=0)
    return editing.Settings(
        seed=0,
        stages=("z",),
        enough=1.0,
        terms=editing.Terms(label=1.0, rgb=0.1, perceptual=0.0, identity=0.0, staying=0.01),
        class_balance=0.5,
        margin=0.02,
        least=0.2,
        views=(-25.0,),
        z=stage,
        w=stage,
        wplus=stage,
        tune=stage,
    )
