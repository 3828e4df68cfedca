"""Runs: kill and resume with equal results, checkpoints that fit, settings that stay."""

import dataclasses
import json

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dnerf_jax.training import logs, runs


@flax.struct.dataclass
class State:
    """Training state of a least-squares problem."""

    step: jax.Array
    params: dict
    optimizer: tuple


TX = optax.adam(0.1)


def new_state(width: int = 3) -> State:
    params = {"weight": jnp.ones((width, 2)), "bias": jnp.zeros(2)}
    return State(step=jnp.zeros((), jnp.int32), params=params, optimizer=TX.init(params))


@jax.jit
def train_step(state: State) -> tuple[State, dict]:
    key = jax.random.fold_in(jax.random.key(0), state.step)
    inputs = jax.random.normal(key, (8, state.params["weight"].shape[0]))

    def loss_of(params):
        return jnp.mean((inputs @ params["weight"] + params["bias"] - 1) ** 2)

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    updates, optimizer = TX.update(gradients, state.optimizer)
    return State(state.step + 1, optax.apply_updates(state.params, updates), optimizer), {"loss": loss}


def train(workdir, total: int, *, stop_after: int | None = None, every: int = 3) -> State:
    """Trains to `total`; killed after `stop_after`, it leaves steps in the log that no checkpoint has."""
    state = new_state()
    with runs.Checkpoints(workdir / "checkpoints", every=every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log = logs.MetricLog(workdir, step=start)
        for step in range(start + 1, total + 1):
            state, metrics = train_step(state)
            logs.require_finite(metrics, step)
            log.write(step, metrics)
            saved.save(step, state, force=step == total)
            if step == stop_after:
                break
        log.close()
    return state


@pytest.mark.slow
def test_killed_and_resumed_equals_straight(tmp_path):
    straight = train(tmp_path / "straight", 8)
    train(tmp_path / "killed", 8, stop_after=5)
    resumed = train(tmp_path / "killed", 8)
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)
    assert jax.tree.structure(resumed) == jax.tree.structure(straight)
    assert int(resumed.step) == 8
    texts = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("straight", "killed")]
    assert texts[0] == texts[1]
    records = logs.read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 9))


def test_finished_run_trains_no_further(tmp_path):
    done = train(tmp_path, 4)
    again = train(tmp_path, 4)
    jax.tree.map(np.testing.assert_array_equal, again, done)


def test_only_the_newest_checkpoints_stay(tmp_path):
    state = new_state()
    with runs.Checkpoints(tmp_path, every=2, keep=2) as saved:
        assert saved.latest_step is None
        assert saved.restore_latest(state) is None
        written = [step for step in range(1, 10) if saved.save(step, state, force=step == 9)]
        assert written == [2, 4, 6, 8, 9]
        assert not saved.save(9, state, force=True)
        assert saved.latest_step == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["8", "9"]


def test_restores_onto_another_sharding(tmp_path):
    state = train(tmp_path, 2)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated), state)
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as saved:
        step, restored = saved.restore_latest(template)
    assert step == 2
    assert restored.params["weight"].sharding == replicated
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path, 1)
    other = new_state(width=5)
    other = other.replace(params=other.params | {"scale": jnp.ones(())})
    message = r"params.scale is missing.*/weight has shape \(3, 2\), exp"
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as saved, pytest.raises(ValueError, match=message):
        saved.restore_latest(other)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a thread that Orbax leaves
def test_damaged_checkpoint_is_refused(tmp_path):
    train(tmp_path, 1)
    folder = tmp_path / "checkpoints" / "1"
    for file in folder.rglob("*"):
        if file.is_file() and "METADATA" not in file.name.upper():
            file.write_bytes(file.read_bytes()[:3])
    message = "cannot be read"
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as saved, pytest.raises(ValueError, match=message):
        saved.restore_latest(new_state())


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a run."""

    steps: int = 10
    widths: tuple[int, ...] = (1, 2)


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that has a checkpoint."""
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    return tmp_path


def test_settings_of_a_continued_run_must_be_the_same(begun):
    runs.remember(begun, Settings())
    runs.remember(begun, Settings())
    runs.remember(begun, Settings(steps=20), may_change=("steps",))
    with pytest.raises(ValueError, match=r"other settings or inputs: widths was \[1, 2\] and is \[1, 3\]"):
        runs.remember(begun, Settings(steps=20, widths=(1, 3)))
    assert json.loads((begun / "settings.json").read_text()) == {"steps": 20, "widths": [1, 2]}


def test_a_run_begun_before_a_field_was_there_had_its_default(begun):
    (begun / "settings.json").write_text('{"steps": 10}')
    with pytest.raises(ValueError, match=r"widths was \[1, 2\] and is \[3\]"):
        runs.remember(begun, Settings(widths=(3,)))
    runs.remember(begun, Settings())
    assert json.loads((begun / "settings.json").read_text()) == {"steps": 10, "widths": [1, 2]}


def test_inputs_of_a_continued_run_must_be_the_same(begun):
    runs.remember(begun, Settings(), inputs={"generator": "0123"})
    with pytest.raises(ValueError, match="generator was '0123' and is '4567'"):
        runs.remember(begun, Settings(), inputs={"generator": "4567"})
    # A run of an earlier version, which noted fewer inputs, goes on, and notes them from now on.
    runs.remember(begun, Settings(), inputs={"generator": "0123", "labels": "89ab"})
    with pytest.raises(ValueError, match="labels was '89ab' and is 'cdef'"):
        runs.remember(begun, Settings(), inputs={"generator": "0123", "labels": "cdef"})


def test_a_run_that_came_to_nothing_blocks_no_other(tmp_path):
    runs.remember(tmp_path, Settings(widths=()))
    (tmp_path / "checkpoints").mkdir()
    runs.remember(tmp_path, Settings())
    assert json.loads((tmp_path / "settings.json").read_text())["widths"] == [1, 2]


def test_a_run_may_become_longer_and_says_what_that_means_but_never_shorter(begun):
    runs.remember(begun, Settings(), may_grow=("steps",))
    with pytest.warns(UserWarning, match="steps was 10 and is 20: the run goes on"):
        runs.remember(begun, Settings(steps=20), may_grow=("steps",))
    with pytest.raises(ValueError, match="steps was 20 and is 10"):
        runs.remember(begun, Settings(), may_grow=("steps",))


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00" * 40])
def test_settings_that_are_damaged_are_named(begun, content):
    (begun / "settings.json").write_text(content)
    with pytest.raises(ValueError, match="settings.json cannot be read as the settings of a run"):
        runs.remember(begun, Settings())


def test_a_placed_state_lets_its_step_be_compiled_once():
    @jax.jit
    def step(bound, state):
        return jax.tree.map(lambda x: x + bound, state)

    bound = jax.device_put(jnp.ones(()), jax.devices()[0])  # as the arrays of a loaded checkpoint are
    state = runs.placed({"params": jnp.zeros(3), "bias": jnp.zeros(())})
    step(bound, step(bound, state))
    assert step._cache_size() == 1
