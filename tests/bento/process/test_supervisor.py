"""The supervisor by itself, with workers that do what a test needs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

SUPERVISOR = """
import sys
from bento.process import supervisor
supervisor.KILL_SECONDS = float(sys.argv[2])
sys.executable = sys.argv[1]
raise SystemExit(supervisor.supervise(supervisor.listen("127.0.0.1", 0)))
"""
# Reports that it is ready and takes half a second to stop, then writes its process id.
WORKER = """#!{python}
import os, signal, sys, time
{setup}
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGTERM, signal.SIGINT, signal.SIGHUP}})
os.write(int(os.environ["PRECIS_READY_FD"]), b"1 0.5")
open({pids!r}, "a").write(f"{{os.getpid()}}\\n")
{work}
"""
HANGS = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
SLEEPS = "time.sleep(300)"
ENDS_WITH_SUPERVISOR = "os.read(int(sys.argv[4]), 1)"


def default_signals() -> None:
    """Under nohup, or in the background of a script, a test run ignores these, and so would what it starts."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Starts a supervisor whose worker runs the given code; returns it with its worker."""
    started = []

    def start(
        setup: str = "", work: str = SLEEPS, kill_seconds: float = 60.0, **options
    ) -> tuple[subprocess.Popen, psutil.Process]:
        script, pids = tmp_path / "worker", tmp_path / "pids"
        script.write_text(WORKER.format(python=sys.executable, setup=setup, work=work, pids=str(pids)))
        script.chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(script), str(kill_seconds)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            **{"preexec_fn": default_signals, **options},
        )
        started.append(process)
        return process, psutil.Process(workers(pids, 1)[0])

    yield start
    for process in started:
        process.kill()
        for pid in workers(tmp_path / "pids", 1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def workers(pids: Path, count: int) -> list[int]:
    end = time.monotonic() + 60
    while not pids.exists() or len(lines := pids.read_text().splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return [int(line) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_the_worker_and_then_the_supervisor(start, number):
    supervisor, worker = start()
    supervisor.send_signal(number)
    assert supervisor.wait(60) == 0
    assert not worker.is_running()


@pytest.mark.parametrize("frozen", [False, True], ids=["ignores the signal", "is frozen"])
def test_worker_that_does_not_stop_is_killed(start, frozen):
    supervisor, worker = start(HANGS, kill_seconds=0.5)
    if frozen:
        worker.suspend()
    began = time.monotonic()
    supervisor.terminate()
    assert supervisor.wait(60) == 1
    assert time.monotonic() - began >= 1.0, "the worker's time to stop, and half a second"
    assert not worker.is_running()
    assert "it is killed" in supervisor.stderr.read()


def test_killed_supervisor_leaves_no_worker(start):
    supervisor, worker = start(work=ENDS_WITH_SUPERVISOR)
    supervisor.kill()
    supervisor.wait(60)
    worker.wait(60)


def test_hangup_is_ignored_under_nohup(start):
    supervisor, worker = start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    supervisor.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert supervisor.poll() is None
    assert worker.is_running()
    supervisor.terminate()
    assert supervisor.wait(60) == 0


def test_worker_that_was_ready_is_replaced(start, tmp_path):
    supervisor, worker = start()
    os.kill(worker.pid, signal.SIGKILL)
    _, second = workers(tmp_path / "pids", 2)
    assert psutil.pid_exists(second)
    supervisor.terminate()
    assert supervisor.wait(60) == 0
