"""Starts the service, or says in one sentence why it cannot: `python -m bento --port 3000`. What the container runs.

Checked is what BentoML would answer with a traceback, or with workers that start and die without end. The bundle and
the device are checked by bento.service itself, however it is started.
"""

import argparse
import os
import socket
import sys
import tempfile
from pathlib import Path

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1
# BentoML's supervisor, one worker with Gradio and its caches, measured (docs/log.md); weights take twice their file.
BASE_MIB = 500
MIB_PER_BUNDLE_MIB = 2


def port_problem(host: str, port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"Port {port} cannot be served on {host}: {error.strerror.lower()}."
    return None


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
    bundle = Path(os.environ.get("PRECIS_BUNDLE") or "artifacts/embedded/bundle")
    problem = port_problem(options.host, options.port) or folder_problem(home) or memory_problem(bundle)
    if problem:
        print(f"Not started: {problem}", file=sys.stderr)
        return 1
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    command = [bentoml, "serve", "bento.service:Summarizer", "--host", options.host, "--port", str(options.port)]
    os.execv(bentoml, command)


if __name__ == "__main__":
    sys.exit(main())
