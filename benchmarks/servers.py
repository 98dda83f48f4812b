"""Servers in processes of their own, on cores of their own: ours, and the usual BentoML way beside it."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
CHECKED_EVERY = 0.05  # seconds


class Server:
    """A server in a process of its own."""

    def __init__(
        self, name: str, command: list[str], folder: Path, variables: dict[str, str], cores: list[int]
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / f"{name}.log").open("w")
        environment = {**os.environ, "BENTOML_HOME": str(folder / name), **variables}
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=partial(os.sched_setaffinity, 0, cores),
        )
        atexit.register(self.stop)

    def wait(self, path: str, body: dict | None = None) -> float:
        """Seconds since the process was started until `path` answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        while time.perf_counter() - self.began < 180:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(request, timeout=60):
                    return time.perf_counter() - self.began
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(CHECKED_EVERY)
        raise SystemExit(f"{self.url} does not answer: {Path(self._log.name).read_text()[-2000:]}")

    def memory(self) -> int:
        """Resident bytes of the server and its workers."""
        own = psutil.Process(self._process.pid)
        return sum(process.memory_info().rss for process in (own, *own.children(recursive=True)))

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


@contextmanager
def precis(folder: Path, scratch: Path, cores: list[int]) -> Iterator[Server]:
    """Our server on the 8-bit bundle, once its page is there."""
    variables = {"PRECIS_BUNDLE": str(folder / "int8"), "PRECIS_THREADS": str(len(cores))}
    server = Server("precis", [sys.executable, "-m", "bento"], scratch, variables, cores)
    server.answered = server.wait("/summarize", {"text": "w10 w11", "max_new_tokens": 4})
    server.page = server.wait("/ui/")
    yield server
    server.stop()


@contextmanager
def plain(folder: Path, scratch: Path, cores: list[int], new_tokens: int) -> Iterator[Server]:
    """The peer's server."""
    variables = {
        "PLAIN_MODEL": str(folder / "plain"), "PLAIN_THREADS": str(len(cores)), "PLAIN_NEW_TOKENS": str(new_tokens)
    }  # fmt: skip
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    server = Server("plain", [bentoml, "serve", "benchmarks.plain_bento:Plain"], scratch, variables, cores)
    server.wait("/summarize", {"texts": ["w10 w11"]})
    yield server
    server.stop()
