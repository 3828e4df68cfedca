"""What several tests of training share: the tiny generator as it is loaded, settings, and what is computed of both."""

import dataclasses

import pytest

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import shapes
from dnerf_jax.training import branch, frozen
from dnerf_jax.training.pretraining import plan
from dnerf_jax.worlds import shards


@pytest.fixture(scope="module", autouse=True)
def _coarse_meshes():
    """What is written of a scene has a coarse mesh: two million points take seconds of every test."""
    with pytest.MonkeyPatch.context() as patched:
        options = shapes.extract_mesh.__kwdefaults__ | {"resolution": 16}
        patched.setattr(shapes.extract_mesh, "__kwdefaults__", options)
        yield


@pytest.fixture(scope="session")
def loaded(tiny_assets):
    """The tiny generator, read from its checkpoint as doors do it."""
    return checkpoints.load(tiny_assets / "heads")


@pytest.fixture(scope="session")
def branch_settings(shrunk):
    """The settings of configs/heads.py for the tiny generator."""
    return cli.as_dataclass(shrunk("heads.py"), branch.Settings)


@pytest.fixture(scope="session")
def own_density(branch_settings):
    """The same with a branch that has its own density."""
    form = dataclasses.replace(branch_settings.semantic, density_prior=False)
    return dataclasses.replace(branch_settings, semantic=form)


@pytest.fixture(scope="session")
def known(branch_settings, own_density, loaded, tiny_pack):
    """What is frozen for the training pack's six views: "few" samples of a ray, "every" one, for its "own density"."""
    pack, few = tiny_pack[:6], branch_settings.semantic
    made = {"few": frozen.freeze(few, loaded, pack, class_balance=branch_settings.class_balance)}
    # Of these forms only the samples are others.
    for name, form in {"every": dataclasses.replace(few, samples_kept=12), "own density": own_density.semantic}.items():
        made[name] = made["few"].replace(selected=frozen.freeze_samples(form, loaded, pack))
    return made


@pytest.fixture(scope="session")
def pretraining(shrunk):
    """The settings of configs/heads_backbone_cpu.py shrunk: five identities, three, two and two steps of the stages."""
    return cli.as_dataclass(shrunk("heads_backbone_cpu.py"), plan.Settings)


@pytest.fixture(scope="session")
def rendered(pretraining, tmp_path_factory):
    """The renders that such a run trains on."""
    folder, data = tmp_path_factory.mktemp("rendered") / "shard", pretraining.data
    shards.write_shard(folder, "heads", pretraining.seed, 0, data.identities, data.views, data.resolution, False)
    return shards.Shards([folder])
