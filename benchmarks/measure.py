"""Times and memory of functions, taken in turn and beside the machine's own peak; the table and JSON of a benchmark."""

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import files

DTYPES = ("float32", "bfloat16", "float16")
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")


def require_dtype(dtype: str) -> None:
    """Refuses what no convolution is run in."""
    if dtype not in DTYPES:
        raise ValueError(f"--dtype is {dtype!r}: expected one of {', '.join(DTYPES)}.")


def take_turns(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Times functions of no arguments, alternately, so that a busy minute falls on all of them.

    Args:
      functions: by name. What they return is waited for.
      repeats: timed calls of each, after a first one, which compiles, and one to warm up.

    Returns:
      By name {"first_call_s", "median_s", "min_s", "max_s"}.
    """
    times = {name: [] for name in functions}
    for _ in range(repeats + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            times[name].append(time.perf_counter() - start)
    return {
        name: {
            "first_call_s": first,
            "median_s": float(np.median(timed)),
            "min_s": min(timed),
            "max_s": max(timed),
        }
        for name, (first, _, *timed) in times.items()
    }


def costs(function: Any, *arguments: Any) -> dict[str, float]:
    """What XLA counts of a jitted function: {"gflop", "gbyte", "temporary_mib"}."""
    compiled = function.lower(*arguments).compile()
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return {
        "gflop": counted.get("flops", float("nan")) / 1e9,
        "gbyte": counted.get("bytes accessed", float("nan")) / 1e9,
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
    }


def peak_mib(function: Callable[[], Any]) -> float | None:
    """How much memory a call adds at its peak, in MiB, or None where the system does not tell.

    On an accelerator it is the process's peak so far. The call should not be the first, which compiles.
    """
    known = jax.local_devices()[0].memory_stats()
    if known:
        jax.block_until_ready(function())
        return known["peak_bytes_in_use"] / 2**20
    try:
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # what was freed is not to be counted as there
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _resident_mib("VmRSS")
        jax.block_until_ready(function())
        return _resident_mib("VmHWM") - before
    except OSError:
        return None


def _resident_mib(name: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) / 1024


def machine() -> dict[str, Any]:
    """What was measured on: processor, versions, and the peak of a large matrix product and of a large sum."""
    device = jax.local_devices()[0]
    cpu = device.platform == "cpu"
    size, length = (2048, 2**25) if cpu else (8192, 2**28)
    matrix, vector = jnp.ones((size, size)), jnp.ones(length)
    multiply, add = jax.jit(lambda x: x @ x), jax.jit(lambda x: x + 1)
    found = take_turns({"multiply": lambda: multiply(matrix), "add": lambda: add(vector)}, 5)
    return {
        "device": _processor() if cpu else device.device_kind,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
        "peak_gflops": 2 * size**3 / found["multiply"]["min_s"] / 1e9,
        "peak_gbytes_s": 2 * 4 * length / found["add"]["min_s"] / 1e9,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """A Markdown table of dicts; columns maps their keys to titles. What is missing is left empty."""

    def shown(x: Any) -> str:
        return f"{x:.3g}" if isinstance(x, float) else "" if x is None else str(x)

    lines = ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(shown(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines)


def report(
    title: str,
    sizes: dict[str, Any],
    rows: list[dict[str, Any]],
    columns: dict[str, str],
    path: str = "",
    *,
    on: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Prints the machine, the sizes and a table of the rows; writes all of it to the JSON file `path`, if given.

    on: what `machine` found, if that is known.
    """
    result = {"benchmark": title, "machine": on or machine(), "sizes": sizes, "rows": rows}
    described = ", ".join(f"{name} {value}" for name, value in result["machine"].items() if "peak" not in name)
    peaks = f"{result['machine']['peak_gflops']:.0f} GFLOP/s, {result['machine']['peak_gbytes_s']:.0f} GB/s"
    print(f"{title}: {described}; measured peaks: {peaks}\n{sizes}\n\n{table(rows, columns)}", flush=True)
    if path:
        files.write_json(path, result)
    return result
