"""The supervisor of `python -m bento`: keeps one worker running on a listening socket.

It imports the standard library only, so that the worker starts at once. BentoML's own supervisor (`bentoml serve`)
imports nearly all that a worker does before it starts one.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

# Environment variable: file descriptor of the pipe to which a ready worker writes "1" and its longest time to stop.
READY_FD = "PRECIS_READY_FD"
HANDLED_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
KILL_SECONDS = 10.0  # after a worker's longest time to stop, before it is killed
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
    """Runs workers until SIGTERM, SIGINT or SIGHUP, or until one ends before it was ready; returns the exit status.

    A worker that was ready and ends unasked is replaced. One that never was ready has printed the reason, unless a
    signal ended it. One that hangs, and does not stop in the time that it has said, is killed.
    """
    handled = set(HANDLED_SIGNALS)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        handled.discard(signal.SIGHUP)
    # Blocked and waited for, rather than handled, so that none is missed between two lines. A worker unblocks its own.
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    alive, _open_while_alive = os.pipe()  # workers read the end of file once this process has ended, however it did
    while True:
        worker = _Worker(listening, alive)
        stop_signal, status = worker.wait(handled)
        if stop_signal:
            return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else 1
        reason = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        if not worker.is_ready():
            if status < 0:
                hint = " Too little memory is the usual reason." if status == -signal.SIGKILL else ""
                print(f"Not started: the worker was ended {reason} before it was ready.{hint}", file=sys.stderr)
            return 1
        worker.close()
        _log_warning(f"The worker was ended {reason}; another is started.")


class _Worker:
    """A worker process, and the pipe to which it writes once it is ready."""

    def __init__(self, listening: socket.socket, alive: int) -> None:
        self._ready, worker_end = os.pipe()
        os.set_blocking(self._ready, False)
        self._report = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bento.process.worker", str(listening.fileno()), str(alive)],
            pass_fds=(listening.fileno(), alive, worker_end),
            env={**os.environ, READY_FD: str(worker_end)},
        )
        os.close(worker_end)

    def is_ready(self) -> bool:
        """Whether the worker has been ready."""
        if not self._report:
            with contextlib.suppress(BlockingIOError):
                self._report = os.read(self._ready, 64)
        return bool(self._report)

    def stop_seconds(self) -> float:
        """How long the worker takes at most to stop; none before it is ready."""
        return float(self._report.split()[1]) if self.is_ready() else 0.0

    def close(self) -> None:
        """Closes the pipe."""
        os.close(self._ready)

    def wait(self, handled: set[signal.Signals]) -> tuple[int, int]:
        """Passes signals on until the worker ends; returns the first signal (0 if there was none) and its exit status.

        Kills a worker that does not end after a signal.
        """
        stop_signal, kill_at = 0, math.inf
        while True:
            number = _next_signal(handled, kill_at)
            if number is None:
                _log_warning("The worker does not stop; it is killed.")
                self._process.kill()
                kill_at = math.inf
            elif number != signal.SIGCHLD:
                if not stop_signal:
                    stop_signal, kill_at = number, time.monotonic() + self.stop_seconds() + KILL_SECONDS
                # Not yet waited for, so the process id is still the worker's.
                self._process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
            if self._has_ended():
                return stop_signal, self._process.returncode

    def _has_ended(self) -> bool:
        # As a container's first process this one also inherits, and has to wait for, what a worker leaves behind.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == self._process.pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return True
            if not pid:
                return False


def _next_signal(handled: set[signal.Signals], until: float) -> int | None:
    """The next signal, or None if there is none before the time `until` (of `time.monotonic()`)."""
    if until == math.inf:
        return signal.sigwait(handled)
    info = signal.sigtimedwait(handled, max(0.0, until - time.monotonic()))
    return info.si_signo if info else None


def _log_warning(message: str) -> None:
    """Writes a line in the format of bento.logs, which is not imported here."""
    line = message
    if os.environ.get("PRECIS_LOG_FORMAT") != "text":
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "level": "warning", "logger": "precis.supervisor", "message": message})
    print(line, file=sys.stderr, flush=True)
