"""What every command wants of its process: compiled programs that stay, and memory that stays."""

import ctypes
import hashlib
import os
import platform
import sys
from pathlib import Path

import jax


def prepare() -> None:
    """What every door wants of its process: compiled programs that stay, and memory that stays."""
    enable_compilation_cache()
    keep_freed_memory()


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


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, or where JAX_COMPILATION_CACHE_DIR says.

    Only what took over a second to compile is kept. Programs for one CPU can crash on another, so the folder
    is named after the processor (home folders are shared between machines).
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    machine = platform.machine() + "-" + hashlib.sha256(flags.encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnerf_jax" / "xla" / machine
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
