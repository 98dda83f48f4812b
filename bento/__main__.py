"""Starts the service, or says in one sentence why it cannot: `python -m bento --port 3000`. What the container runs.

Checked is what BentoML would answer with a traceback. The bundle and the device are checked by the worker itself.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bento import EMBEDDED_RUN
from bento.process.supervisor import listen, supervise
from precis.bundle.choose import choose_bundle

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1
# The supervisor, one worker with Gradio and its caches, measured (docs/log.md); weights take twice their file.
BASE_MIB = 400
MIB_PER_BUNDLE_MIB = 2


def folder_problem(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} cannot be written to ({error.strerror.lower()}); mount a tmpfs there or set BENTOML_HOME."


def memory_problem(bundle: Path) -> str | None:
    limit = next((path.read_text().strip() for path in MEMORY_LIMITS if path.is_file()), "max")
    weights = sum(path.stat().st_size for path in bundle.glob("*")) >> 20
    needed = BASE_MIB + MIB_PER_BUNDLE_MIB * weights
    if limit == "max" or int(limit) >> 20 >= needed:
        return None
    return f"This container may use {int(limit) >> 20} MiB of memory, and this bundle needs {needed} MiB."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bento", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    device = os.environ.get("PRECIS_DEVICE") or "cpu"
    bundle = Path(os.environ.get("PRECIS_BUNDLE") or choose_bundle(EMBEDDED_RUN, device))
    if not 0 <= options.port < 1 << 16:
        parser.error(f"--port should be from 0 to 65535, not {options.port}")
    try:
        listening = listen(options.host, options.port)
        problem = folder_problem(home) or memory_problem(bundle)
    except OSError as error:
        problem = f"Port {options.port} cannot be served on {options.host}: {error.strerror.lower()}."
    if problem:
        print(f"Not started: {problem}", file=sys.stderr)
        return 1
    return supervise(listening)


if __name__ == "__main__":
    sys.exit(main())
