"""What a run tells of itself: metrics without repeated steps, progress with the time left, a guard against NaN."""

import io

import jax.numpy as jnp
import pytest

from dnerf_jax.training import logs


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


@pytest.mark.parametrize(
    "line", ["rubbish", "[1]", "7", "{}", '{"step": 1.5}', '{"step": true}', '{"step": 1, "loss": "a"}', "[" * 200_000]
)
def test_damaged_log_names_the_line(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2.*; delete that line"):
        logs.MetricLog(tmp_path, step=2)


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl cannot be read as metrics: byte 12 is not UTF-8"):
        logs.read_metrics(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="cannot be read as metrics: it is a folder"):
        logs.read_metrics(tmp_path)


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


def test_progress_counts_what_it_is_told():
    now, stream = [0.0], io.StringIO()
    progress = logs.Progress(3, every=0.0, unit="latent", stream=stream, clock=lambda: now[0])
    for step in (1, 3):
        now[0] += 10
        progress.update(step, {"written": "2 MB"} if step == 3 else None)
    assert stream.getvalue().splitlines() == ["latent 1/3", "latent 3/3  written 2 MB  5 s/latent"]


@pytest.mark.parametrize("seconds, text", [(40.4, "40 s"), (119, "2 min"), (3599, "1 h 0 min"), (11400, "3 h 10 min")])
def test_durations(seconds, text):
    assert logs.duration(seconds) == text


def test_non_finite_metrics_stop_the_run():
    logs.require_finite({"loss": jnp.float32(1)}, 3)
    with pytest.raises(FloatingPointError, match="loss is nan at step 7: the run stops here, and its last"):
        logs.require_finite({"psnr": 3.0, "loss": jnp.float32(jnp.nan)}, 7)
    with pytest.raises(FloatingPointError, match="norm is inf"):
        logs.require_finite({"norm": jnp.float32(jnp.inf)}, 7)
