"""Starts, awaits, measures and stops a server in a process of its own; tests and benchmarks share it."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
# The environment that serves, where `make env` has made it.
SERVE_PYTHON = path if (path := ROOT / ".venv-serve/bin/python").exists() else Path(sys.executable)
START = [str(SERVE_PYTHON), "-m", "bento"]
BENTOML = str(Path(sys.executable).with_name("bentoml"))
POLL_SECONDS = 0.05
LOG_CHARACTERS = 4000  # of the log's end, in an error


class ServerError(RuntimeError):
    """The server ended, or did not answer in time. The message has the end of its log."""


class Server:
    """A server on a free port of this machine, in a process group of its own.

    Its working folder is `folder`; its log and BentoML's store are in `home`. `environment` is added to this process's
    variables, of which PRECIS_BUNDLE is replaced by `bundle`. `cores` are the CPUs it may run on (Linux; default: all).
    `port_argument` is how `command` takes its port.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        bundle: Path | None,
        home: Path,
        environment: dict[str, str] | None = None,
        *,
        cores: Sequence[int] | None = None,
        port_argument: str = "--port={port}",
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / f"server-{self.port}.log"
        variables = {**os.environ, "BENTOML_HOME": str(home / "bentoml")}
        variables.pop("PRECIS_BUNDLE", None)
        variables |= environment or {}
        if bundle is not None:
            variables["PRECIS_BUNDLE"] = str(bundle)
        self.started = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, port_argument.format(port=self.port)],
                cwd=folder,
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(os.sched_setaffinity, 0, cores) if cores else None,
            )
        atexit.register(self.stop)

    def wait_until_ready(self, timeout: float = 300, path: str = "/readyz", body: dict | None = None) -> float:
        """Waits until `path` answers (a POST of `body` if there is one); returns seconds since the process started.

        Raises ServerError if the process ends or `timeout` seconds pass.
        """
        if not wait_for_answer(self.url + path, body, timeout, lambda: self.process.poll() is None):
            state = f"did not answer within {timeout} s" if self.process.poll() is None else "ended"
            log = self.log.read_text(errors="replace")[-LOG_CHARACTERS:]
            raise ServerError(f"The server at {self.url}{path} {state}:\n{log}")
        return time.perf_counter() - self.started

    @property
    def worker(self) -> psutil.Process:
        """The process that answers requests: the only child of the one that was started."""
        return psutil.Process(self.process.pid).children()[0]

    def memory(self) -> int:
        """Resident bytes of the server and all processes below it."""
        return resident_bytes(psutil.Process(self.process.pid))

    def stop(self, timeout: float = 20) -> None:
        """Sends SIGTERM to the process group, and SIGKILL if it has not ended after `timeout` seconds."""
        atexit.unregister(self.stop)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_answer(
    url: str, body: dict | None = None, timeout: float = 300, is_running: Callable[[], bool] = lambda: True
) -> bool:
    """Asks `url` until it answers with a 2xx status; False if `is_running` turns false or `timeout` seconds pass."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    end = time.perf_counter() + timeout
    while time.perf_counter() < end and is_running():
        try:
            # A readiness probe answers at once; a summary may take long.
            with urllib.request.urlopen(request, timeout=2 if body is None else 60):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(POLL_SECONDS)
    return False


def resident_bytes(process: psutil.Process) -> int:
    """Resident bytes of the process and all processes below it."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # one of them ended meanwhile
    return total
