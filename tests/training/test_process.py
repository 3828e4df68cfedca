"""The process: freed memory and compiled programs stay, and what it may have is known in containers, too."""

import functools
import os
import resource
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.ops import devices
from dnerf_jax.training import process

NO_LIMIT = 2**63 - 4096  # what version 1 says where none is set
GIB = 2**30
container_limits = process._container_limits


FAULTS = """
import ctypes, resource, threading
from dnerf_jax.training import process
libc, size = ctypes.CDLL(None), 2**26
libc.malloc.restype, libc.memset.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
libc.malloc.argtypes, libc.free.argtypes = (ctypes.c_size_t,), (ctypes.c_void_p,)

def show_page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

process.keep_freed_memory()
show_page_faults()
show_page_faults()
thread = threading.Thread(target=show_page_faults)
thread.start()
thread.join()
"""


def test_freed_memory_is_kept_for_the_next_step_and_for_other_threads():
    # In a process of its own: in this one other threads may have taken of the freed block before it is asked for again.
    shown = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    first, again, elsewhere = map(int, shown.stdout.split())
    pages = 2**26 // resource.getpagesize()
    assert first > 0.9 * pages and max(again, elsewhere) < 0.1 * pages


def homeless():
    """Stands for Path.home where there is none."""
    raise RuntimeError("Could not determine home directory.")


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
        named = set()
        for threads in ("1", "2"):  # whose programs give other last bits
            monkeypatch.setenv("NPROC", threads)
            process.enable_compilation_cache()
            named.add(jax.config.jax_compilation_cache_dir)
        assert len(named) == 2
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", homeless)
        process.enable_compilation_cache()  # in a container whose user has no home
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Writes what a container shows of control groups: own groups, and the limits in files by their path."""

    def show(own, limits):
        (tmp_path / "own").write_text(own)
        for name, text in limits.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(f"{text}\n")
        here = functools.partial(container_limits, tmp_path / "groups", tmp_path / "own")
        monkeypatch.setattr(process, "_container_limits", here)
        monkeypatch.setattr(process, "_machine_memory", lambda: 64 * GIB)

    return show


VERSION_1 = "12:cpu,cpuacct:/docker/a\n5:memory:/docker/a\n1:name=systemd:/docker/a\n"


@pytest.mark.parametrize(
    "own, limits, expected",
    [
        # Version 2: the container's own group is the root, or a folder below it; the smallest around it counts.
        ("0::/\n", {"memory.max": 3 * GIB}, 3 * GIB),
        ("0::/\n", {"memory.max": "max"}, 64 * GIB),
        ("0::/pods/one\n", {"pods/memory.max": 5 * GIB, "pods/one/memory.max": 8 * GIB}, 5 * GIB),
        ("0::/pods/one\n", {"pods/memory.max": "max", "pods/one/memory.max": 8 * GIB}, 8 * GIB),
        ("0::/pods/one\n", {"other/memory.max": GIB, "one/memory.max": GIB}, 64 * GIB),
        ("0::/pods/one\n", {"memory.max": 200 * GIB}, 64 * GIB),  # more than there is
        # Version 1, where the container sees its group as the root, or the whole tree; and no limit is a large number.
        (VERSION_1, {"memory/memory.limit_in_bytes": 2 * GIB}, 2 * GIB),
        (VERSION_1, {"memory/docker/a/memory.limit_in_bytes": 7 * GIB}, 7 * GIB),
        (VERSION_1, {"memory/memory.limit_in_bytes": NO_LIMIT}, 64 * GIB),
        (VERSION_1, {"cpu/docker/a/memory.limit_in_bytes": GIB, "memory.limit_in_bytes": GIB}, 64 * GIB),
        # Both, as some hosts have it.
        (VERSION_1 + "0::/x\n", {"memory/memory.limit_in_bytes": NO_LIMIT, "x/memory.max": 4 * GIB}, 4 * GIB),
        ("", {}, 64 * GIB),
    ],
)
def test_the_memory_that_a_container_may_have(container, own, limits, expected):
    container(own, limits)
    assert process.memory_limit() == expected


def test_a_system_without_control_groups_has_the_machines_memory(tmp_path, monkeypatch):
    nowhere = functools.partial(container_limits, tmp_path / "none", tmp_path / "none")
    monkeypatch.setattr(process, "_container_limits", nowhere)
    assert process.memory_limit() == process._machine_memory() > 2**28


def test_rows_are_few_on_a_cpu_and_fewer_where_memory_is_short(container, tiny_semantic_model, monkeypatch):
    asked = []

    def rows_that_fit(model, resolution, *, views, memory):
        asked.append((resolution, views, memory))
        return 4

    monkeypatch.setattr(scenes, "rows_that_fit", rows_that_fit)
    container("0::/\n", {"memory.max": GIB // 2})
    assert process.rows_at_once(tiny_semantic_model, views=3) == 4
    container("0::/\n", {"memory.max": 16 * GIB})
    process.rows_at_once(tiny_semantic_model)
    assert asked == [(8, 3, GIB / 16), (8, 1, scenes.MEMORY)]


def test_rows_on_an_accelerator_follow_its_own_memory(container, tiny_semantic_model, monkeypatch):
    class Accelerator:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 40 * GIB}

    monkeypatch.setattr(devices, "default_device", Accelerator)
    monkeypatch.setattr(scenes, "rows_that_fit", lambda *_, views, memory: memory)
    container("0::/\n", {"memory.max": GIB})
    assert process.memory_limit() == 40 * GIB
    assert process.rows_at_once(tiny_semantic_model) == 5 * GIB


def test_rows_are_those_that_the_limit_holds(container, tiny_semantic_model):
    limits = [2**30, 2**24, 2**20, 2**10]
    rows = []
    for limit in limits:
        container("0::/\n", {"memory.max": limit})
        rows.append(process.rows_at_once(tiny_semantic_model))
        expected = scenes.rows_that_fit(tiny_semantic_model, 8, memory=min(limit / 8, scenes.MEMORY))
        assert rows[-1] == expected
    assert rows == sorted(rows, reverse=True) and rows[0] == 8 and rows[-1] == 1


@pytest.mark.parametrize("before", [None, "", "--xla_cpu_max_isa=AVX2", "--xla_gpu_deterministic_ops=false"])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_operations_of_a_gpu_are_deterministic_unless_the_user_says_otherwise(before, backend, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS") if before is None else monkeypatch.setenv("XLA_FLAGS", before)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    process.choose_deterministic()
    flags = os.environ.get("XLA_FLAGS")
    if backend == "cpu" or (before and "deterministic" in before):
        assert flags == before
    else:
        assert flags == f"{before or ''} --xla_gpu_deterministic_ops=true".strip()
    monkeypatch.setenv("XLA_FLAGS", "")  # so that it is restored, whatever was done to it
