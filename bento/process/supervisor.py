"""The supervisor of `python -m bento`: keeps one worker running on a listening socket.

It imports the standard library only, so that the worker starts at once. BentoML's own supervisor (`bentoml serve`)
imports nearly all that a worker does before it starts one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

READY_FD = "PRECIS_READY_FD"  # environment variable: file descriptor of the pipe to which a ready worker writes a byte
HANDLED_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, in which connections wait while there is no worker. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen(BACKLOG)
    return listening


def supervise(listening: socket.socket) -> int:
    """Runs workers until SIGTERM or SIGINT, or until one ends before it was ready; returns the exit status.

    A worker that was ready and ends unasked is replaced. One that never was ready has printed the reason, unless a
    signal ended it.
    """
    # Blocked and waited for, rather than handled, so that none is missed between two lines. A worker unblocks its own.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    while True:
        worker, ready = _start_worker(listening)
        stop_signal, status = _wait_for_worker(worker)
        was_ready = os.read(ready, 1)
        os.close(ready)
        if stop_signal:
            return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else 1
        reason = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        if not was_ready:
            if status < 0:
                hint = " Too little memory is the usual reason." if status == -signal.SIGKILL else ""
                print(f"Not started: the worker was ended {reason} before it was ready.{hint}", file=sys.stderr)
            return 1
        _log_warning(f"The worker was ended {reason}; another is started.")


def _start_worker(listening: socket.socket) -> tuple[subprocess.Popen[bytes], int]:
    """A worker, and the end of a pipe from which a byte can be read once the worker is ready."""
    ready, worker_end = os.pipe()
    worker = subprocess.Popen(
        [sys.executable, "-m", "bento.process.worker", str(listening.fileno())],
        pass_fds=(listening.fileno(), worker_end),
        env={**os.environ, READY_FD: str(worker_end)},
    )
    os.close(worker_end)
    return worker, ready


def _wait_for_worker(worker: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Passes signals on until the worker ends; returns the first signal (0 if there was none) and its exit status."""
    stop_signal = 0
    while True:
        number = signal.sigwait(HANDLED_SIGNALS)
        if number != signal.SIGCHLD:
            stop_signal = stop_signal or number
            os.kill(worker.pid, number)  # not yet waited for, so the process id is still the worker's
        # As a container's first process it also inherits, and has to wait for, what a worker leaves behind.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == worker.pid:
                worker.returncode = os.waitstatus_to_exitcode(status)
                return stop_signal, worker.returncode
            if not pid:
                break


def _log_warning(message: str) -> None:
    """Writes a line in the format of bento.logs, which is not imported here."""
    line = message
    if os.environ.get("PRECIS_LOG_FORMAT") != "text":
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "level": "warning", "logger": "precis.supervisor", "message": message})
    print(line, file=sys.stderr, flush=True)
