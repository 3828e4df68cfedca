"""Worker processes, and which process is which: workers that end with their command, processes known by more than ids.

An id is given anew once its process is gone; with the time of its start, and the machine (and container) whose ids
these are, it is of one process for ever.
"""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def follow_the_command() -> None:
    """Makes a worker end with the process that started it, and leave it to that one to say what Ctrl-C means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent is not None:
            parent.join()  # until it is gone, killed or not
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def each(function: Callable[..., Any], calls: Mapping[Any, Sequence[Any]], processes: int) -> Iterator[Any]:
    """Calls a function with the arguments of each call, in so many processes, and yields a call's key when it is done.

    What one raises is raised; then, and at an interrupt, the others end at once, with what they are at.
    """
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, spawn, follow_the_command) as pool:
        jobs = {pool.submit(function, *arguments): key for key, arguments in calls.items()}
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
                yield jobs[job]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


@contextlib.contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """These variables, which processes that start within the block get before any of their libraries does."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def begun_at(process: int) -> int | None:
    """When a process began, in ticks since this machine did; None: it is gone, or the system does not say."""
    try:
        # The name comes before, in brackets, and may hold any character.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@functools.cache
def machine() -> str | None:
    """Whose process ids these are: this boot of this machine, and the container; None if the system does not say."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def threads() -> int:
    """How many threads XLA has on this CPU: NPROC where that is set, else the visible cores."""
    number = os.environ.get("NPROC", "")
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(number) if number.isdecimal() and int(number) else visible


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Prints a warning as one line, instead of Python's two with a place in the code: for `warnings.showwarning`."""
    sys.stdout.flush()
    print(f"warning: {message}", file=sys.stderr, flush=True)
