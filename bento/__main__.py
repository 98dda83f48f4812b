"""Start the service: `python -m bento --port 3000`. This is the container's command.

Port, cache folder and memory are checked here, so that an error is one sentence and not a traceback. The worker checks
bundle and device.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from bento import EMBEDDED_RUN
from bento.memory import memory_limit
from bento.process.supervisor import listen, supervise
from precis.bundle.choose import choose_bundle

# Measured (docs/log.md#worker-memory): the supervisor and one worker with Gradio and its caches; weights take twice
# their file size.
BASE_MIB = 400
MIB_PER_BUNDLE_MIB = 2


def folder_problem(folder: Path) -> str | None:
    """Why files cannot be written to the folder, in a sentence, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (
            f"{folder} cannot be written to ({str(error.strerror).lower()}); mount a tmpfs there or set BENTOML_HOME."
        )


def memory_problem(bundle: Path) -> str | None:
    """Why the container's memory limit is too low for the bundle, in a sentence, or None."""
    limit = memory_limit()
    weights = 0
    with contextlib.suppress(OSError):  # the worker reports what cannot be read
        weights = sum(path.stat().st_size for path in bundle.iterdir()) >> 20
    needed = BASE_MIB + MIB_PER_BUNDLE_MIB * weights
    if limit is None or limit >> 20 >= needed:
        return None
    return f"This container may use {limit >> 20} MiB of memory, and this bundle needs {needed} MiB."


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bento",
        description="Start the service.",
        epilog="All other settings are environment variables: docs/configuration.md.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    device = os.environ.get("PRECIS_DEVICE") or "cpu"
    bundle = choose_bundle(Path(os.environ.get("PRECIS_BUNDLE") or EMBEDDED_RUN), device)
    if not 0 <= options.port < 1 << 16:
        parser.error(f"--port should be from 0 to 65535, not {options.port}")
    try:
        listening = listen(options.host, options.port)
    except (OSError, UnicodeError) as error:  # the latter if a part of a host name is empty or too long
        reason = str(error.strerror).lower() if isinstance(error, OSError) else "this is no host name"
        problem: str | None = f"Port {options.port} cannot be served on {options.host}: {reason}."
    else:
        problem = folder_problem(home) or memory_problem(bundle)
    if problem:
        print(f"Not started: {problem}", file=sys.stderr)
        return 1
    return supervise(listening)


if __name__ == "__main__":
    sys.exit(main())
