"""Makes a virtual environment with pip on any Python 3.11+: python3 .ci/make_venv.py DIRECTORY

Debian and Colab ship Python without `ensurepip`, so that `python3 -m venv` fails there. Then pip comes from
the machine's own pip or, where there is none either, from the package index that PIP_INDEX_URL names, its hash
checked.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

HELP = "On Debian and Ubuntu `apt install python3-venv` provides what is missing; then run make again."


def has_pip(python: str) -> bool:
    """Whether the interpreter at this path can run pip."""
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


def has_ensurepip() -> bool:
    """Whether this Python can put pip into an environment by itself."""
    try:
        from ensurepip import bootstrap
    except ImportError:
        return False
    return callable(bootstrap)


def download_pip(folder: str) -> Path:
    """Downloads the newest released pip wheel from the package index and checks its SHA-256."""
    if "PIP_INDEX_URL" not in os.environ:
        raise OSError("this Python has neither ensurepip nor pip, and PIP_INDEX_URL names no index to get pip from")
    index = os.environ["PIP_INDEX_URL"].rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as page:
        text = page.read().decode()
    links = re.findall(r'href="([^"]*/pip-([0-9.]+)-py3-none-any\.whl#sha256=([0-9a-f]{64}))"', text)
    if not links:
        raise OSError(f"{index} lists no pip wheel with a hash")
    link, version, digest = max(links, key=lambda entry: [int(part) for part in entry[1].split(".")])
    with urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=60) as response:
        content = response.read()
    if hashlib.sha256(content).hexdigest() != digest:
        raise OSError(f"pip {version} from {index} does not have the hash that the index names")
    wheel = Path(folder) / f"pip-{version}-py3-none-any.whl"
    wheel.write_bytes(content)
    return wheel


def make(directory: str) -> None:
    """Makes the environment; raises OSError or CalledProcessError where no way to get pip works."""
    import venv

    python = str(Path(directory) / "bin" / "python")
    if has_ensurepip():
        venv.create(directory, with_pip=True, clear=True, symlinks=True)
    else:
        venv.create(directory, with_pip=False, clear=True, symlinks=True)
        if has_pip(sys.executable):  # pip 22.3 and later can install into another environment
            subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "pip"])
    if not has_pip(python):
        with tempfile.TemporaryDirectory() as folder:
            wheel = download_pip(folder)
            subprocess.run([python, f"{wheel}/pip", "install", "-q", "--no-index", str(wheel)], check=True)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (this file runs before anything could have been checked)
        sys.exit(
            f"dnerf_jax needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. "
            "Name another one: make PYTHON=python3.12 ..."
        )
    try:
        make(sys.argv[1])
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"could not make a virtual environment with pip in {sys.argv[1]}: {error}\n{HELP}")
