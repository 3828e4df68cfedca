"""Tries broken and hostile files on every reader of the project, in a process with limits of time and memory.

    python -m tests.fuzz --minutes 5 --seed 0
    python -m tests.fuzz --only cloud metrics --cases 1000
    python -m tests.fuzz --only cloud --seed 0 --index 17      one case again, with its traceback

Every file must be accepted, or refused with a ValueError that names it, within SECONDS and MIB. Case i of a kind and a
seed is always the same file. All kinds get the same time, so that fast ones are tried more often. The exit status is 1
if anything else came.
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from typing import Any

SECONDS, MIB = 10, 512  # of one case, beyond what the process has before
MESSAGE = 4000  # characters of an error's text


@dataclasses.dataclass
class Count:
    """What became of the files of one kind.

    slowest, largest: seconds and MiB of the worst cases, with their index. others: what should not have happened, by
    index. spent: seconds on the kind, the making of its cases included.
    """

    tried: int = 0
    refused: int = 0
    accepted: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    largest: tuple[float, int] = (0.0, 0)
    spent: float = 0.0
    others: dict[int, str] = dataclasses.field(default_factory=dict)


class Worker:
    """A process that tries cases one by one; it is started again when it dies or is too slow."""

    def __init__(self, seed: int):
        self.seed = seed
        self.process: subprocess.Popen | None = None
        self.ready: set[str] = set()  # kinds whose example is made, which may compile

    def attempt(self, kind: str, index: int) -> dict[str, Any]:
        """What became of a case: outcome, text, seconds, mib."""
        process = self.process or self._start()
        with contextlib.suppress(BrokenPipeError):  # of a process that has died, which gives no answer below
            process.stdin.write(f"{kind} {index}\n".encode())
            process.stdin.flush()
        wait = 2 * SECONDS if kind in self.ready else 100
        self.ready.add(kind)
        if not select.select([process.stdout], [], [], wait)[0]:
            self.close()
            return {"outcome": "other", "text": f"no answer within {wait} s", "seconds": wait, "mib": 0}
        answer = process.stdout.readline()
        if not answer:
            code = process.wait()
            self.close()
            if code > 0:
                raise RuntimeError(f"the case {index} of {kind} could not be made: see above")
            return {"outcome": "other", "text": f"the process died of signal {-code}", "seconds": 0, "mib": 0}
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process, self.ready = None, set()

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.fuzz", "--seed", str(self.seed), "--worker"]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self.process


class Pickles:
    """The cases of `tests.fuzz.pickles`, behind the same two methods as an Example's."""

    def __init__(self, folder: pathlib.Path):
        from tests.fuzz import pickles

        self.pickles, self.folder, self.path = pickles, folder, folder / "network.pkl"
        self.seed, self.next, self.cases = None, 0, iter(())

    def prepare(self, seed: int, index: int) -> pathlib.Path:
        """Writes the case `index` of a seed."""
        if (seed, index) < (self.seed or 0, self.next) or seed != self.seed:
            self.seed, self.next, self.cases = seed, 0, self.pickles.cases(seed)
        _, content = next(itertools.islice(self.cases, index - self.next, None))
        self.next = index + 1
        self.path.write_bytes(content)
        return self.path

    def attempt(self, path: pathlib.Path) -> None:
        """Reads the case that was written."""
        self.pickles.attempt(path)


def example(kind: str, folder: pathlib.Path) -> Any:
    """The sound folder of a kind, or the cases of pickles."""
    if kind == "pickles":
        return Pickles(folder)
    from tests.fuzz import files

    return files.Example(kind, folder)


def serve(seed: int) -> None:
    """Tries the cases that standard input names, and answers with a line of JSON for each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what readers print is no answer
    examples: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz") as root:
        for line in sys.stdin:
            kind, index = line.split()
            if kind not in examples:
                (folder := pathlib.Path(root) / kind).mkdir()
                examples[kind] = example(kind, folder)
            path = examples[kind].prepare(seed, int(index))
            answers.write(json.dumps(judge(examples[kind], path)) + "\n")
            answers.flush()


def judge(tried: Any, path: pathlib.Path) -> dict[str, Any]:
    """Reads a case under the limits, and says what came of it."""
    before = _status("VmRSS")
    _forget_peak()
    with limited(_status("VmSize") + MIB):
        begun, outcome, text = time.monotonic(), "accepted", ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tried.attempt(path)
        except ValueError as error:
            outcome, text = "refused", str(error)
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome, text = "other", f"{type(error).__name__}: {error!s:.200} ({last.filename}:{last.lineno})"
        seconds = time.monotonic() - begun
    if outcome == "refused" and str(tried.folder) not in text:
        outcome, text = "other", f"the error does not name the file: {text:.200}"
    elif outcome == "refused" and len(text) > MESSAGE:
        outcome, text = "other", f"the error has {len(text)} characters: {text:.200}"
    elif seconds > SECONDS:
        outcome, text = "other", f"it took {seconds:.0f} s ({outcome})"
    return {"outcome": outcome, "text": text, "seconds": seconds, "mib": max(_status("VmHWM") - before, 0)}


@contextlib.contextmanager
def limited(mib: float):
    """Lets the process have so much of address space within the block."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(mib) << 20, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _status(name: str) -> float:
    """A size of this process in MiB, as Linux says it."""
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def kinds() -> list[str]:
    """The names of all kinds; pickles are left out, with a note, where there are no cases of them."""
    from tests.fuzz import files

    names = list(files.KINDS)
    if (pathlib.Path(__file__).parent / "pickles.py").exists():
        return ["pickles", *names]
    print("no pickles: tests/fuzz/pickles.py is not there", file=sys.stderr)
    return names


def run(seed: int, names: list[str], minutes: float, cases: int | None) -> dict[str, Count]:
    """Tries cases for so many minutes, or so many of each kind, and counts what became of them."""
    counts = collections.defaultdict(Count, {name: Count() for name in names})
    worker, end = Worker(seed), time.monotonic() + 60 * minutes
    try:
        while time.monotonic() < end:
            open_ = [name for name in names if cases is None or counts[name].tried < cases]
            if not open_:
                break
            name = min(open_, key=lambda name: counts[name].spent)
            count, begun = counts[name], time.monotonic()
            answer = worker.attempt(name, count.tried)
            if count.tried:  # the first makes the example
                count.spent += time.monotonic() - begun
            count.slowest = max(count.slowest, (answer["seconds"], count.tried))
            count.largest = max(count.largest, (answer["mib"], count.tried))
            count.refused += answer["outcome"] == "refused"
            count.accepted += answer["outcome"] == "accepted"
            if answer["outcome"] == "other":
                count.others[count.tried] = answer["text"]
            count.tried += 1
    finally:
        worker.close()
    return dict(counts)


def report(seed: int, counts: dict[str, Count]) -> str:
    """A table of the counts, and under it everything that should not have happened, with the way to repeat it."""
    lines = [f"{'kind':12}{'tried':>8}{'refused':>9}{'accepted':>10}{'else':>6}  {'slowest':18}{'largest':18}"]
    for name, count in counts.items():
        numbers = f"{count.tried:8}{count.refused:9}{count.accepted:10}{len(count.others):6}"
        (seconds, slowest), (mib, largest) = count.slowest, count.largest
        lines.append(
            f"{name:12}{numbers}  {f'{seconds:.2f} s ({slowest})':18}{f'{mib:.0f} MiB ({largest})':18}".rstrip()
        )
    for name, count in counts.items():
        for index, text in list(count.others.items())[:20]:
            lines.append(f"python -m tests.fuzz --only {name} --seed {seed} --index {index}: {text}")
    return "\n".join(lines)


def main() -> int:
    """Parses the command line, and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, help="of every kind; without it, as many as there is time for")
    parser.add_argument("--only", nargs="+", help="kinds")
    parser.add_argument("--index", type=int, help="this case alone")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options.seed)
        return 0
    known = kinds()
    names = options.only or known
    if unknown := set(names) - set(known):
        parser.error(f"no kinds {sorted(unknown)}; there are {known}")
    if options.index is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz") as root:
            tried = example(names[0], pathlib.Path(root))
            path = tried.prepare(options.seed, options.index)
            print(f"{path}: {path.read_bytes()[:400]!r}")
            tried.attempt(path)
        return 0
    counts = run(options.seed, names, options.minutes, options.cases)
    print(report(options.seed, counts))
    return int(any(count.others for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
