"""A process whose engine has failed: not ready at once, and ended soon after."""

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import threading, time
from bento.process import failure
from bento.process.drain import Lifecycle

failure.ANSWER_SECONDS = 2.0

class Engine:
    failed = False
    stopped = threading.Event()
    def wait_until_stopped(self): self.stopped.wait()

engine, lifecycle = Engine(), Lifecycle()
lifecycle.ready = True
failure.end_with_engine(engine, lifecycle)
print("serving", lifecycle.serving, flush=True)
engine.failed = FAILED
engine.stopped.set()
end = time.monotonic() + (60 if FAILED else 1)
while lifecycle.serving and time.monotonic() < end:
    time.sleep(0.01)
print("serving", lifecycle.serving, flush=True)
while time.monotonic() < end:
    time.sleep(0.01)
print("still there")
"""


def run(failed: bool) -> tuple[int, list[str]]:
    program = PROGRAM.replace("FAILED", str(failed))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.splitlines()


def test_failed_engine_ends_readiness_and_then_the_process():
    assert run(failed=True) == (1, ["serving True", "serving False"])


def test_closed_engine_ends_neither():
    assert run(failed=False) == (0, ["serving True", "serving True", "still there"])
