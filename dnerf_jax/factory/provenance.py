"""Where numbers come from: the checkpoint, and the stack that rendered them.

Within one stack a plan gives the same bytes, whatever the processes, restarts and machines. Across stacks pixels differ
in their last bit here and there; hashes of the decoded numbers, in the sidecars, say whether they do.
"""

import functools
import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from dnerf_jax.io import workers
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops import devices

LABELS_STACK = "labels"  # in a sidecar's stack: the stack that made the labels anew
_PACKAGES = ("dnerf_jax", "jax", "jaxlib", "flax", "numpy", "scipy", "isal")
# What of our own sources has a say in the bytes.
_SOURCES = ("ops/*.py", "networks/*.py", "models/*.py", "io/encoding.py", "io/ply*.py")
_SOURCES += tuple(f"factory/{name}.py" for name in ("draws", "plan", "poses", "record", "render", "writing"))
# What XLA compiles for: the widest of these that a processor has.
_INSTRUCTIONS = ("avx512f", "avx2", "avx", "sse4_2", "sve", "asimd")


def stack() -> dict[str, Any]:
    """What bytes depend on beside the plan and the checkpoint: versions and code, device, instruction set, threads.

    "fingerprint": 16 hexadecimal digits of all of it.
    """
    device = devices.default_device()
    cpu = device.platform == "cpu"
    found: dict[str, Any] = {
        "versions": {name: _version(name) for name in _PACKAGES},
        "sources": _sources(),
        "platform": device.platform,
        "device": f"{platform.machine()} {_instruction_set()}" if cpu else device.device_kind,
        "threads": workers.threads() if cpu else None,
        "flags": os.environ.get("XLA_FLAGS", ""),
    }
    return found | {"fingerprint": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]}


def origin(model: Model) -> dict[str, Any]:
    """Whose latents and labels these are: fingerprints of the generator and of the branch, and the model's info."""
    branch = None if model.semantic is None else fingerprint(model.semantic.params)
    return {"fingerprint": model.fingerprint, "semantic_fingerprint": branch, **dict(model.info)}


@functools.cache
def _sources() -> str:
    """16 hexadecimal digits of the code that makes the bytes: versions of ours change more seldom than that."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # ours, where it runs from a folder that nobody installed
        return None


def _instruction_set() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        words = next(line for line in lines if line.startswith(("flags", "Features"))).split()
    except (OSError, StopIteration):
        return platform.processor()
    return next((name for name in _INSTRUCTIONS if name in words), "")
