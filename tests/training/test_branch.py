"""Training a semantic branch: it learns, the generator stays as it is, a killed run goes on as if it had not been."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes, semantic
from dnerf_jax.ops import losses
from dnerf_jax.training import branch, logs


@pytest.fixture(scope="module")
def run(shrunk):
    """The settings of configs/heads.py for the tiny generator."""
    return cli.as_dataclass(shrunk("heads.py"), branch.Settings)


@pytest.fixture(scope="module")
def own_density(run):
    """The same with a branch that has its own density."""
    return dataclasses.replace(run, semantic=dataclasses.replace(run.semantic, density_prior=False))


@pytest.fixture(scope="module")
def straight(shrunk, tiny_assets, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    branch.main(shrunk("heads.py"), str(workdir), str(tiny_assets / "heads"))
    return workdir


@pytest.fixture(scope="module")
def frozen(run, tiny_model, tiny_pack):
    """What is frozen for the views of the training pack, by whether the generator's density is used."""
    everything = dataclasses.replace(run, semantic=dataclasses.replace(run.semantic, samples_kept=12))
    without = dataclasses.replace(run, semantic=dataclasses.replace(run.semantic, density_prior=False))
    return {
        prior: branch.freeze(settings, tiny_model, tiny_pack[:6])
        for prior, settings in ((True, everything), (False, without))
    }


def test_the_branch_learns_and_the_generator_stays(run, straight, frozen, tiny_model, tiny_pack):
    model = checkpoints.load(straight / "model")
    assert model.fingerprint == tiny_model.fingerprint
    assert (model.semantic_config, model.label_map) == (run.semantic, tiny_pack.label_map)

    @jax.jit
    def loss_of(params):
        logits = branch.predict(run.semantic, tiny_model.config, params, frozen[True])
        return losses.cross_entropy(logits, frozen[True].masks)

    before = loss_of(branch.create_state(run, tiny_model.config).params)
    assert loss_of(model.semantic_params) < 0.75 * before
    records = logs.read_metrics(straight / "metrics.jsonl")
    assert [record["step"] for record in records] == [5, 10, 15, 20]
    assert all(0 <= record["accuracy"] <= 1 for record in records)


def test_killed_and_resumed_equals_straight(run, straight, tiny_assets, tmp_path):
    name = str(tiny_assets / "heads")
    kill(lambda: branch.train(run, tmp_path, name), branch, "train_step", 12)
    assert not (tmp_path / "model").exists()
    resumed = branch.train(run, tmp_path, name)
    jax.tree.map(np.testing.assert_array_equal, resumed.semantic_params, load(straight).semantic_params)
    jax.tree.map(np.testing.assert_array_equal, resumed.semantic_params, load(tmp_path).semantic_params)
    assert (tmp_path / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()


def load(workdir):
    return checkpoints.load(workdir / "model")


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(run, tiny_assets, tmp_path, monkeypatch):
    step = branch.train_step

    def explodes_at_8(*arguments):
        state, report = step(*arguments)
        return state, report | {"loss": jnp.where(state.step >= 8, jnp.nan, report["loss"])}

    monkeypatch.setattr(branch, "train_step", explodes_at_8)
    with pytest.raises(FloatingPointError, match="loss is nan at step 10"):
        branch.train(run, tmp_path, str(tiny_assets / "heads"))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["5"]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", [{}, {"samples_kept": None}, {"density_prior": False}])
def test_what_is_trained_is_what_is_rendered(run, tiny_model, tiny_pack, change):
    config = dataclasses.replace(run.semantic, **change)
    frozen = branch.freeze(dataclasses.replace(run, semantic=config), tiny_model, tiny_pack[:6])
    params = semantic.init(config, tiny_model.config, jax.random.key(3))
    views = jnp.array([1, 5])
    predict = jax.jit(branch.predict, static_argnums=(0, 1))
    logits = predict(config, tiny_model.config, params, branch.choose(frozen, views))
    model = tiny_model.replace(semantic_config=config, semantic_params=params, label_map=tiny_pack.label_map)
    for view, found in zip(views, logits, strict=True):
        one = jax.jit(scenes.synthesize)(model, tiny_pack.z[view])
        expected = jax.jit(scenes.render)(model, one, tiny_pack.camera[view]).logits
        assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


def test_a_patch_is_a_part_of_its_view_and_of_its_labels(run, frozen):
    views = jnp.array([4, 4, 1])
    whole, part = branch.choose(frozen[True], views), branch.choose(frozen[True], views, 3, jax.random.key(1))
    grid, scale = whole.points.shape[1], whole.masks.shape[1] // whole.points.shape[1]
    corners = set()
    for i in range(len(views)):
        places = [
            (row, column)
            for row in range(grid - 2)
            for column in range(grid - 2)
            if np.array_equal(whole.points[i, row : row + 3, column : column + 3], part.points[i])
        ]
        (row, column) = places[0]
        corners.add((row, column))
        rows, columns = (slice(scale * x, scale * (x + 3)) for x in (row, column))
        np.testing.assert_array_equal(part.masks[i], whole.masks[i, rows, columns])
        np.testing.assert_array_equal(part.weights[i], whole.weights[i, row : row + 3, column : column + 3])
    assert len(corners) > 1
    np.testing.assert_array_equal(part.latent, whole.latent)


def test_rare_classes_count_more_where_that_is_asked_for():
    masks = np.array([[0] * 90 + [1] * 10 + [255] * 7], np.uint8)
    np.testing.assert_allclose(branch.class_weights(masks, 3, 0.5), [1, 3, 90**0.5], rtol=1e-6)
    np.testing.assert_array_equal(branch.class_weights(masks, 3, 0.0), 1)


def test_few_samples_keep_the_opacity(run, frozen, tiny_model, tiny_pack):
    few = branch.freeze(run, tiny_model, tiny_pack[:1]).weights[0]
    every = frozen[True].weights[0]
    assert few.shape[-1] == run.semantic.samples_kept < every.shape[-1] == 12
    np.testing.assert_allclose(few.sum(-1), every.sum(-1), rtol=1e-4, atol=1e-6)
    heaviest = np.sort(np.asarray(every), axis=-1)[..., ::-1][..., : run.semantic.samples_kept]
    share = heaviest / np.maximum(heaviest.sum(-1, keepdims=True), 1e-8)
    np.testing.assert_allclose(few, share * np.asarray(every).sum(-1, keepdims=True), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("prior", [True, False])
def test_the_memory_that_is_announced_is_taken(run, frozen, tiny_model, prior):
    config = dataclasses.replace(run.semantic, density_prior=prior, samples_kept=12)
    there = frozen[prior]
    arrays = there.features, there.points, there.weights, there.depths, there.order, there.masks
    taken = sum(x.nbytes for x in jax.tree.leaves(arrays))
    latents = len(there.features[0])
    assert latents < len(there.latent)
    assert branch.frozen_bytes(config, tiny_model, latents, len(there.latent)) == taken


def test_a_density_of_its_own_is_learned(own_density, frozen, tiny_model):
    state = branch.create_state(own_density, tiny_model.config)
    before = jax.tree.map(np.asarray, state.params["density"])
    state, report = branch.train_step(own_density, tiny_model.config, frozen[False], state)
    assert np.isfinite(float(report["loss"]))
    assert np.abs(state.params["density"]["weight"] - before["weight"]).max() > 1e-4


def test_all_seeds_share_one_compiled_step(run, frozen, tiny_model):
    def program(seed, annotations):
        changed = dataclasses.replace(run, seed=seed, annotations=annotations)
        state = branch.create_state(changed, tiny_model.config)
        return branch.train_step.lower(changed, tiny_model.config, frozen[True], state).as_text()

    assert program(0, "some") == program(1, "others")


def test_coarse_channels_are_dropped_whole_and_the_others_make_up_for_them():
    features = [jnp.ones((2, size, size, 4000)) for size in (4, 16, 32)]
    dropped = branch.drop_coarse(jax.random.key(0), features, 0.25)
    for before, after in zip(features[:2], dropped[:2], strict=True):
        np.testing.assert_array_equal(after, jnp.broadcast_to(after[:, :1, :1], before.shape))
        assert set(np.unique(after)) == {0, np.float32(1 / 0.75)}
        assert abs(float(jnp.mean(after)) - 1) < 0.02
    assert not np.array_equal(dropped[0][0, 0, 0], dropped[0][1, 0, 0])
    assert not np.array_equal(dropped[0][0, 0, 0], dropped[1][0, 0, 0])
    assert dropped[2] is features[2]
    assert branch.drop_coarse(jax.random.key(0), features, 0.0) is features


def test_pixels_without_a_label_count_for_nothing(run, tiny_model, tiny_pack):
    config, run = tiny_model.config, dataclasses.replace(run, coarse_dropout=0.0, patch=None)
    frozen = branch.freeze(run, tiny_model, tiny_pack[:6])
    state = branch.create_state(run, config)
    logits = jax.jit(branch.predict, static_argnums=(0, 1))(run.semantic, config, state.params, frozen)
    right = jnp.argmax(logits, axis=-1).astype(jnp.uint8)
    every_other = (jnp.arange(right.size) % 2 == 0).reshape(right.shape)
    masks = jnp.where(every_other, right, 255).astype(jnp.uint8)
    _, report = branch.train_step(run, config, frozen.replace(masks=masks), state)
    assert float(report["accuracy"]) == 1
    assert np.isfinite(float(report["loss"]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classes": 12}, "'tiny' has 5 classes, config.semantic.num_classes is 12: set it to 5"),
        ({"views_per_step": 7}, "views_per_step is 7, but the pack 'tiny' has only 6 views"),
        ({"patch": 9}, "config.patch is 9: this generator renders 8 x 8 rays for images of 16 pixels"),
    ],
)
def test_settings_that_do_not_fit_the_pack_are_refused(run, straight, tiny_assets, tmp_path, change, message):
    if "classes" in change:
        change = {"semantic": dataclasses.replace(run.semantic, num_classes=change["classes"])}
    with pytest.raises(ValueError, match=message):
        branch.train(dataclasses.replace(run, **change), tmp_path, str(tiny_assets / "heads"))
    assert not list(tmp_path.iterdir()), "the folder must stay free for the corrected run"


def test_a_pack_of_another_generator_is_refused(run, tiny_assets, tiny_pack, tmp_path):
    packs.save(tmp_path / "pack", dataclasses.replace(tiny_pack, fingerprint="another"))
    with pytest.raises(ValueError, match="the fingerprint is 'another'"):
        branch.train(
            dataclasses.replace(run, annotations=str(tmp_path / "pack")), tmp_path / "run", str(tiny_assets / "heads")
        )


def test_a_density_of_its_own_needs_the_memory_of_one_views_samples(own_density, frozen, tiny_model):
    """Of all views at once, a step on the embedded heads took 3.2 GB instead of 0.3."""
    config = own_density.semantic
    params = semantic.init(config, tiny_model.config, jax.random.key(0))

    def temporaries(count):
        views = branch.choose(frozen[False], jnp.zeros(count, jnp.int32))
        logits = lambda params: branch.predict(config, tiny_model.config, params, views)  # noqa: E731
        gradient = jax.jit(jax.grad(lambda params: jnp.sum(logits(params))))
        return gradient.lower(params).compile().memory_analysis().temp_size_in_bytes

    samples = 4 * frozen[False].depths[0].size * config.hidden  # their hidden activations
    assert temporaries(12) - temporaries(2) < 10 * 10 * samples
