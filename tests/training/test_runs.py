"""Runs: kill and resume with equal results, logs without repeated steps, a guard against NaN."""

import ctypes
import dataclasses
import io
import json
import resource

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dnerf_jax.training import logs, process, runs


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
    with runs.Checkpoints(workdir / "checkpoints", every=every) as checkpoints:
        start, state = checkpoints.restore_latest(state) or (0, state)
        log = logs.MetricLog(workdir, step=start)
        for step in range(start + 1, total + 1):
            state, metrics = train_step(state)
            logs.require_finite(metrics, step)
            log.write(step, metrics)
            checkpoints.save(step, state, force=step == total)
            if step == stop_after:
                break
        log.close()
    return state


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
    with runs.Checkpoints(tmp_path, every=2, keep=2) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.restore_latest(state) is None
        written = [step for step in range(1, 10) if checkpoints.save(step, state, force=step == 9)]
        assert written == [2, 4, 6, 8, 9]
        assert not checkpoints.save(9, state, force=True)
        assert checkpoints.latest_step == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["8", "9"]


def test_restores_onto_another_sharding(tmp_path):
    state = train(tmp_path, 2)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated), state)
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as checkpoints:
        step, restored = checkpoints.restore_latest(template)
    assert step == 2
    assert restored.params["weight"].sharding == replicated
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path, 1)
    other = new_state(width=5)
    other = other.replace(params=other.params | {"scale": jnp.ones(())})
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as checkpoints:
        with pytest.raises(ValueError, match=r"params.scale is missing.*/weight has shape \(3, 2\), exp"):
            checkpoints.restore_latest(other)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a thread that Orbax leaves
def test_damaged_checkpoint_is_refused(tmp_path):
    train(tmp_path, 1)
    folder = tmp_path / "checkpoints" / "1"
    for file in folder.rglob("*"):
        if file.is_file() and "METADATA" not in file.name.upper():
            file.write_bytes(file.read_bytes()[:3])
    with runs.Checkpoints(tmp_path / "checkpoints", every=1) as checkpoints:
        with pytest.raises(ValueError, match="cannot be read"):
            checkpoints.restore_latest(new_state())


def test_settings_of_a_continued_run_must_be_the_same(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        steps: int = 10
        widths: tuple[int, ...] = (1, 2)

    runs.remember(tmp_path / "run", Settings())
    runs.remember(tmp_path / "run", Settings())
    runs.remember(tmp_path / "run", Settings(steps=20), may_change=("steps",))
    with pytest.raises(ValueError, match=r"widths was \[1, 2\] and is \[1, 3\]"):
        runs.remember(tmp_path / "run", Settings(steps=20, widths=(1, 3)))
    assert json.loads((tmp_path / "run" / "settings.json").read_text()) == {"steps": 20, "widths": [1, 2]}
    runs.remember(tmp_path / "of", Settings(), inputs={"generator": "0123"})
    with pytest.raises(ValueError, match="generator was '0123' and is '4567'"):
        runs.remember(tmp_path / "of", Settings(), inputs={"generator": "4567"})


def test_log_survives_a_half_written_line_and_writes_null_for_nan(tmp_path):
    log = logs.MetricLog(tmp_path)
    log.write(1, {"loss": jnp.float32(0.5)})
    log.write(2, {"loss": float("nan")})
    log.close()
    with log.path.open("a") as file:
        file.write('{"step": 3, "lo')
    log = logs.MetricLog(tmp_path, step=2)
    log.write(3, {"loss": 0.25})
    log.close()
    expected = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}, {"step": 3, "loss": 0.25}]
    assert logs.read_metrics(log.path) == expected
    assert len(log.path.read_text().splitlines()) == 3


def test_damaged_log_names_the_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2"):
        logs.MetricLog(tmp_path, step=2)


def test_a_new_run_empties_the_log(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    logs.MetricLog(tmp_path).close()
    assert logs.read_metrics(tmp_path / "metrics.jsonl") == []


def test_progress_says_rate_and_time_left():
    now, stream = [0.0], io.StringIO()
    progress = logs.Progress(400, start=0, every=5.0, stream=stream, clock=lambda: now[0])
    for step in range(1, 401):
        now[0] += 20.0 if step == 1 else 0.5  # the first step compiles
        progress.update(step, {"loss": jnp.float32(1 / step)})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/400  loss 1"
    assert lines[1] == "step 11/400  loss 0.09091  2 steps/s  3 min left"
    assert lines[-1] == "step 400/400  loss 0.0025  2 steps/s"
    assert len(lines) == 41


@pytest.mark.parametrize(
    "seconds, text", [(40.4, "40 s"), (119, "2 min"), (3599, "1 h 0 min"), (11400, "3 h 10 min")]
)
def test_durations(seconds, text):
    assert logs.duration(seconds) == text


def test_non_finite_metrics_stop_the_run():
    logs.require_finite({"loss": jnp.float32(1)}, 3)
    with pytest.raises(FloatingPointError, match="loss is nan at step 7: the run stops here, and its last"):
        logs.require_finite({"psnr": 3.0, "loss": jnp.float32(jnp.nan)}, 7)
    with pytest.raises(FloatingPointError, match="norm is inf"):
        logs.require_finite({"norm": jnp.float32(jnp.inf)}, 7)


def test_freed_memory_is_kept_for_the_next_step():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.memset.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    libc.malloc.argtypes, libc.free.argtypes = (ctypes.c_size_t,), (ctypes.c_void_p,)

    def page_faults(size=2**26):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(size)
        libc.memset(block, 1, size)
        libc.free(block)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    process.keep_freed_memory()
    page_faults()
    assert page_faults() < 2**26 // resource.getpagesize() / 10


def test_compilation_cache_is_the_users_unless_named(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "named"))
        process.enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir == before
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        process.enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / "dnerf_jax" / "xla"))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
