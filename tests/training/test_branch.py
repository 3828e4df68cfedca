"""Training a semantic branch: it learns, the generator stays as it is, a killed run goes on as if it had not been."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, train
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes, semantic
from dnerf_jax.models.model import LABELS_TRUNCATION
from dnerf_jax.models.semantic import Branch
from dnerf_jax.ops import losses
from dnerf_jax.training import branch, frozen, logs

pytestmark = pytest.mark.slow
predict = jax.jit(branch.predict, static_argnums=1)


@pytest.fixture(scope="module")
def straight(shrunk, tiny_assets, tmp_path_factory):
    """The folder of a run that nothing interrupted, by the door; its steps were compiled at most once."""
    workdir, programs = tmp_path_factory.mktemp("straight"), branch.train_step._cache_size()
    train.main(cli.as_dataclass(shrunk("heads.py"), branch.Settings), str(workdir), str(tiny_assets / "heads"))
    # Although the arrays of a loaded checkpoint are bound to a device, and new ones are not.
    assert branch.train_step._cache_size() <= programs + 1
    return workdir


def load(workdir):
    return checkpoints.load(workdir / "model")


def test_the_branch_learns_and_the_generator_stays(branch_settings, straight, known, tiny_model, tiny_pack):
    model, config = load(straight), tiny_model.generator.config
    assert model.fingerprint == tiny_model.fingerprint
    assert (model.semantic.config, model.label_map) == (branch_settings.semantic, tiny_pack.label_map)

    def loss_of(params):
        logits = predict(Branch(branch_settings.semantic, params), config, known["every"])
        return losses.cross_entropy(logits, known["every"].masks)

    before = loss_of(branch.create_state(branch_settings, config).params)
    assert loss_of(model.semantic.params) < 0.75 * before
    records = logs.read_metrics(straight / "metrics.jsonl")
    assert [record["step"] for record in records] == [5, 10, 15, 20]
    assert all(0 <= record["accuracy"] <= 1 for record in records)


def test_killed_and_resumed_equals_straight(branch_settings, straight, loaded, tiny_assets, tmp_path):
    pack = packs.load(tiny_assets / "heads_train")
    kill(lambda: branch.train(branch_settings, loaded, pack, tmp_path), branch, "train_step", 12)
    assert not (tmp_path / "model").exists()
    programs = branch.train_step._cache_size()
    resumed = branch.train(branch_settings, loaded, pack, tmp_path)
    assert branch.train_step._cache_size() == programs, "a restored state is where a step leaves it"
    jax.tree.map(np.testing.assert_array_equal, resumed.semantic.params, load(straight).semantic.params)
    jax.tree.map(np.testing.assert_array_equal, resumed.semantic.params, load(tmp_path).semantic.params)
    assert (tmp_path / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()


def test_a_finished_run_is_returned_and_nothing_computed_again(
    branch_settings, straight, loaded, tiny_assets, monkeypatch, capsys
):
    monkeypatch.setattr(branch, "freeze", None)  # would fail if it were called
    again = branch.train(branch_settings, loaded, packs.load(tiny_assets / "heads_train"), straight)
    assert "has done its 20 steps already" in capsys.readouterr().out
    jax.tree.map(np.testing.assert_array_equal, again.semantic.params, load(straight).semantic.params)


def test_a_seed_is_the_same_run_whatever_the_flags(branch_settings, straight, loaded, tiny_assets, tmp_path):
    with jax.enable_x64(True):
        wide = branch.train(branch_settings, loaded, packs.load(tiny_assets / "heads_train"), tmp_path)

    def same(found, expected):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)

    jax.tree.map(same, wide.semantic.params, load(straight).semantic.params)


def test_corrected_labels_are_another_input(branch_settings, straight, loaded, tiny_assets):
    pack = packs.load(tiny_assets / "heads_train")
    for change in ({"masks": np.where(pack.masks == 1, 2, pack.masks)}, {"truncation_psi": 0.5}):
        with pytest.raises(ValueError, match="other settings or inputs: the labels changed \\(fingerprint '"):
            branch.train(branch_settings, loaded, dataclasses.replace(pack, **change), straight)


def test_a_model_says_if_its_labels_are_of_truncated_scenes(loaded, tiny_assets):
    pack = packs.load(tiny_assets / "heads_train")
    truncated = loaded.replace(info=branch._told(loaded, dataclasses.replace(pack, truncation_psi=0.7)))
    assert truncated.info == (*loaded.info, (LABELS_TRUNCATION, "0.7"))
    assert branch._told(truncated, pack) == branch._told(loaded, pack) == loaded.info


def test_a_longer_run_goes_on_and_the_pack_says_how_many_classes_there_are(
    branch_settings, straight, loaded, tiny_assets, tmp_path
):
    shutil.copytree(straight, tmp_path / "run")
    form = dataclasses.replace(branch_settings.semantic, num_classes=0)
    longer = dataclasses.replace(branch_settings, steps=22, semantic=form)
    with pytest.warns(UserWarning, match="steps was 20 and is 22"):
        model = branch.train(longer, loaded, packs.load(tiny_assets / "heads_train"), tmp_path / "run")
    assert model.semantic.config.num_classes == 5
    steps = [record["step"] for record in logs.read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == [5, 10, 15, 20, 22]


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(
    branch_settings, loaded, tiny_pack, tmp_path, monkeypatch
):
    step = branch.train_step

    def explodes_at_8(*arguments):
        state, report = step(*arguments)
        return state, report | {"loss": jnp.where(state.step >= 8, jnp.nan, report["loss"])}

    monkeypatch.setattr(branch, "train_step", explodes_at_8)
    with pytest.raises(FloatingPointError, match="loss is nan at step 10"):
        branch.train(branch_settings, loaded, tiny_pack[:6], tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["5"]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", [{}, {"samples_kept": None}, {"density_prior": False}])
def test_what_is_trained_is_what_is_rendered(branch_settings, loaded, tiny_pack, change):
    config, form = loaded.generator.config, dataclasses.replace(branch_settings.semantic, **change)
    made = semantic.init(form, config, jax.random.key(3))
    views = np.array([1, 5])
    there = frozen.freeze(form, loaded, tiny_pack[[1, 5]])
    logits = predict(made, config, there)
    model = loaded.replace(semantic=made, label_map=tiny_pack.label_map)
    for view, found in zip(views, logits, strict=True):
        one = jax.jit(scenes.synthesize)(model, tiny_pack.z[view])
        expected = jax.jit(scenes.render)(model, one, tiny_pack.camera[view]).logits
        assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


def test_a_density_of_its_own_is_learned(own_density, known, loaded):
    config = loaded.generator.config
    state = branch.create_state(own_density, config)
    before = jax.tree.map(np.asarray, state.params["density"])
    state, report = branch.train_step(own_density.of_step, config, known["own density"], state)
    assert np.isfinite(float(report["loss"]))
    assert np.abs(state.params["density"]["weight"] - before["weight"]).max() > 1e-4


def test_runs_that_differ_in_what_a_step_does_not_see_share_its_program(branch_settings, known, loaded):
    config = loaded.generator.config

    def first_step(**changes):
        settings = dataclasses.replace(branch_settings, **changes)
        state = branch.create_state(settings, config)
        _, report = branch.train_step(settings.of_step, config, known["few"], state)
        return float(report["loss"]), branch.train_step._cache_size()

    loss, programs = first_step()
    assert first_step(save_every=3, annotations="others", class_balance=0.7) == (loss, programs)
    other, size = first_step(seed=1)
    assert other != loss and size == programs
    assert dataclasses.replace(branch_settings, learning_rate=1.0).of_step != branch_settings.of_step


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
    (half,) = branch.drop_coarse(jax.random.key(0), [features[0].astype(jnp.bfloat16)], 0.25)
    assert half.dtype == jnp.bfloat16


def test_pixels_without_a_label_count_for_nothing(branch_settings, known, loaded):
    config = loaded.generator.config
    settings = dataclasses.replace(branch_settings, coarse_dropout=0.0, patch=None)
    state = branch.create_state(settings, config)
    logits = predict(Branch(settings.semantic, state.params), config, known["every"])
    right = jnp.argmax(logits, axis=-1).astype(jnp.uint8)
    every_other = (jnp.arange(right.size) % 2 == 0).reshape(right.shape)
    masks = jnp.where(every_other, right, 255).astype(jnp.uint8)
    _, report = branch.train_step(settings.of_step, config, known["every"].replace(masks=masks), state)
    assert float(report["accuracy"]) == 1
    assert np.isfinite(float(report["loss"]))


def test_a_penalty_leaves_fewer_channels(branch_settings, known, loaded):
    """As many learning rates as a channel's norm has, in as many steps: what is not worth it is zero then."""
    config = loaded.generator.config
    settings = dataclasses.replace(branch_settings, learning_rate=0.1, final_learning_rate=0.1, sparsity=1.5)
    state = branch.create_state(settings, config)
    for _ in range(8):
        state, report = branch.train_step(settings.of_step, config, known["few"], state)
    norms = np.concatenate(semantic.channel_norms(Branch(settings.semantic, state.params), config))
    assert 0.05 < np.mean(norms == 0) < 0.95 and np.isfinite(float(report["loss"]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scales": (32,)}, r"scales has \[32\], but this generator's blocks have the resolutions \[4, 8, 16\]"),
        ({"sparsity": 1.0}, "three channels share a row of the first layer"),
        ({"num_classes": 12}, "'tiny' has 5 classes, config.semantic.num_classes is 12: leave it out, or set it to 5"),
        ({"views_per_step": 7}, "views_per_step is 7, but the pack 'tiny' has only 6 views"),
        ({"patch": 9}, "config.patch is 9: this generator renders 8 x 8 rays for images of 16 pixels"),
    ],
)
def test_settings_that_do_not_fit_the_pack_are_refused(branch_settings, loaded, tiny_pack, tmp_path, change, message):
    if "sparsity" in change:
        branch_settings = dataclasses.replace(
            branch_settings,
            semantic=dataclasses.replace(branch_settings.semantic, channels="split", aggregation="sum"),
        )
    if {"num_classes", "scales"} & set(change):
        change = {"semantic": dataclasses.replace(branch_settings.semantic, **change)}
    settings = dataclasses.replace(branch_settings, **change)
    with pytest.raises(ValueError, match=message):
        branch.train(settings, loaded, tiny_pack[:6], tmp_path)
    assert not list(tmp_path.iterdir()), "the folder must stay free for the corrected run"


def test_a_pack_of_another_generator_is_refused(branch_settings, shrunk, loaded, tiny_assets, tiny_pack, tmp_path):
    other = dataclasses.replace(tiny_pack, fingerprint="another")
    with pytest.raises(ValueError, match="'tiny' is of a generator with the fingerprint 'another', this one has"):
        branch.train(branch_settings, loaded, other, tmp_path / "run")
    packs.save(tmp_path / "pack", other)
    config = shrunk("heads.py")
    config.annotations = str(tmp_path / "pack")
    with pytest.raises(ValueError, match="the fingerprint is 'another'"):
        train.main(cli.as_dataclass(config, branch.Settings), str(tmp_path / "run"), str(tiny_assets / "heads"))
    assert not (tmp_path / "run").exists()


def test_a_density_of_its_own_needs_the_memory_of_one_views_samples(own_density, known, loaded):
    """Of all views at once, a step on the embedded heads took 3.2 GB instead of 0.3."""
    form, config = own_density.semantic, loaded.generator.config
    params = semantic.init(form, config, jax.random.key(0)).params

    def temporaries(count):
        views = frozen.choose(known["own density"], jnp.zeros(count, jnp.int32))

        def total(params):
            return jnp.sum(branch.predict(Branch(form, params), config, views))

        return jax.jit(jax.grad(total)).lower(params).compile().memory_analysis().temp_size_in_bytes

    samples = 4 * known["own density"].selected.depths[0].size * form.hidden  # their hidden activations
    assert temporaries(12) - temporaries(2) < 10 * 10 * samples
