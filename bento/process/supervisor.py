"""Keeps one worker running on a listening socket, in plain Python: the first worker starts at once.

BentoML's own supervisor (`bentoml serve`) imports nearly all that a worker does before it starts one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

READY = "PRECIS_READY_FD"  # the variable that names a worker's end of the pipe by which it says that it is ready
AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections wait in it while there is no worker. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen(BACKLOG)
    return listening


def supervise(listening: socket.socket) -> int:
    """Runs workers until SIGTERM or SIGINT, or until one ends before it was ready; returns the exit status.

    A worker that was ready and ends unasked is replaced. One that never was has said why, unless a signal ended it.
    """
    # Waited for, not handled, so that none is missed between two lines. A worker unblocks its own.
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    while True:
        worker, ready = _start(listening)
        asked, status = _ended(worker)
        was_ready = os.read(ready, 1)
        os.close(ready)
        if asked:
            return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else 1
        ended = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        if not was_ready:
            if status < 0:
                why = " Too little memory is the usual reason." if status == -signal.SIGKILL else ""
                print(f"Not started: the worker was ended {ended} before it was ready.{why}", file=sys.stderr)
            return 1
        _log(f"The worker was ended {ended}; another is started.")


def _start(listening: socket.socket) -> tuple[subprocess.Popen, int]:
    """A worker, and the end of a pipe that gives a byte if it ever was ready."""
    ready, tells = os.pipe()
    worker = subprocess.Popen(
        [sys.executable, "-m", "bento.process.worker", str(listening.fileno())],
        pass_fds=(listening.fileno(), tells),
        env={**os.environ, READY: str(tells)},
    )
    os.close(tells)
    return worker, ready


def _ended(worker: subprocess.Popen) -> tuple[int, int]:
    """Waits for the worker's end and passes signals on; returns the first of these, or 0, and the worker's status."""
    asked = 0
    while True:
        number = signal.sigwait(AWAITED)
        if number != signal.SIGCHLD:
            asked = asked or number
            os.kill(worker.pid, number)  # not yet waited for, so the number is still the worker's
        # As a container's first process it also inherits, and has to wait for, what a worker leaves behind.
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if process == worker.pid:
                worker.returncode = os.waitstatus_to_exitcode(status)
                return asked, worker.returncode
            if not process:
                break


def _log(message: str) -> None:
    """A line as bento.logs would write it, which is not imported here."""
    line = message
    if os.environ.get("PRECIS_LOG_FORMAT") != "text":
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "level": "warning", "logger": "precis.supervisor", "message": message})
    print(line, file=sys.stderr, flush=True)
