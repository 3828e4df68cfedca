"""What every command wants of its process: compiled programs that stay, memory that stays, and how much there is."""

import ctypes
import hashlib
import os
import platform
import sys
from pathlib import Path

import jax

from dnerf_jax.io import workers
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import devices


def prepare() -> None:
    """Makes this process ready for a command: compiled programs stay, and so does memory."""
    enable_compilation_cache()
    keep_freed_memory()


def choose_deterministic() -> None:
    """Has XLA take only such operations on a GPU as always give the same bits, unless the user has said.

    Comes before JAX does anything. Neither are programs tuned then by what was quickest at the moment.
    """
    flags = os.environ.get("XLA_FLAGS")
    if _DETERMINISTIC in (flags or ""):
        return
    os.environ["XLA_FLAGS"] = f"{flags or ''} --{_DETERMINISTIC}=true".strip()
    if jax.default_backend() == "gpu":
        return
    # Elsewhere it means nothing; but flags are part of what is noted of a run, and given to other processes.
    del os.environ["XLA_FLAGS"]
    if flags is not None:
        os.environ["XLA_FLAGS"] = flags


def keep_freed_memory() -> None:
    """Has glibc keep the memory that is freed, for the next step to use.

    XLA allocates the temporaries of a program anew at every call on a CPU. By default glibc maps and unmaps them each
    time, and the system spends a fifth of the time on clearing pages. Elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _KEEP_MEMORY.items():
            mallopt(option, value)


# From malloc.h: M_TRIM_THRESHOLD, never shrink the heap; M_MMAP_MAX, map no block by itself; M_ARENA_MAX, one heap for
# all threads, because only the first can hold large blocks.
_KEEP_MEMORY = {-1: -1, -4: 0, -8: 1}
_DETERMINISTIC = "xla_gpu_deterministic_ops"


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, or where JAX_COMPILATION_CACHE_DIR says.

    Only what took over a second to compile is kept. Programs for one CPU can crash on another, so the folder
    is named after the processor (home folders are shared between machines), and after the number of threads, since
    programs for another give other last bits. Who has no home has no cache.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # there is neither HOME nor an entry for the user
        return
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    machine = platform.machine() + "-" + hashlib.sha256(flags.encode()).hexdigest()[:8]
    folder = caches / "dnerf_jax" / "xla" / f"{machine}-{workers.threads()}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def rows_at_once(model: Model, *, views: int = 1) -> int:
    """How many rows of rays of so many views this machine had best render together: see `scenes.render`.

    An accelerator is quickest with as many as fit an eighth of its memory; a CPU with few, whose samples stay in its
    caches, or fewer where the process may not even have eight times that.
    """
    device = devices.default_device()
    memory = memory_limit() / 8
    if device.platform == "cpu":
        memory = min(memory, scenes.MEMORY)
    return scenes.rows_that_fit(model, model.generator.config.neural_rendering_resolution, views=views, memory=memory)


def memory_limit() -> int:
    """Bytes that this process can have on its device: its memory or, on a CPU, the machine's or container's."""
    device = devices.default_device()
    known = device.memory_stats() or {} if device.platform != "cpu" else {}
    return known.get("bytes_limit") or min([_machine_memory(), *_container_limits()])


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The limits that control groups (version 2, then 1) set to this process or to what it runs in."""
    try:
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    limits = []
    for _, controllers, path in groups:
        folder = root if not controllers else root / "memory" if "memory" in controllers.split(",") else None
        if folder is None:
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        # A container often sees its own group as the root; and a group has at most what those around it have.
        for place in [folder, *(folder / part for part in _paths_down(path))]:
            try:
                limits.append(int((place / name).read_text()))
            except (OSError, ValueError):  # no such group here, or "max": no limit
                continue
    return limits


def _paths_down(path: str) -> list[str]:
    """a, a/b, a/b/c of /a/b/c."""
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
