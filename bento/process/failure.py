"""How a process that cannot serve ends: one sentence, status 1, and no other worker started in its place."""

import atexit
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from bento.process.drain import Lifecycle
from bento.process.supervisor import READY_FD

if TYPE_CHECKING:
    from precis import Engine

log = logging.getLogger("precis.lifecycle")

ANSWER_SECONDS = 1.0  # between the engine's failure and the end of the process, for errors to be sent
BENTOML_SUPERVISOR = "PRECIS_SUPERVISOR_PID"  # environment variable: process id of BentoML's supervisor


def exit_with_error(message: str) -> NoReturn:
    """Prints the sentence and ends this process with status 1, from any thread.

    Our own supervisor ends too, since this worker was never ready. BentoML's would start workers again and again, so
    it gets the signal that `stop_with_worker` has prepared it for.
    """
    under_bentoml = os.environ.get(BENTOML_SUPERVISOR) == str(os.getppid())
    if not under_bentoml and READY_FD not in os.environ:
        raise SystemExit(f"Not started: {message}")
    print(f"Not started: {message}", file=sys.stderr, flush=True)
    if under_bentoml:
        os.kill(os.getppid(), signal.SIGUSR1)
    os._exit(1)  # an exception would be logged with its traceback, and in a thread it would end nothing


def stop_with_worker() -> None:
    """Makes BentoML's supervisor, in which this is called, end with status 1 when a worker calls `exit_with_error`."""
    failed = []

    def stop(*_: object) -> None:
        failed.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGUSR1, stop)
    atexit.register(lambda: os._exit(1) if failed else None)
    os.environ[BENTOML_SUPERVISOR] = str(os.getpid())


def end_with_engine(engine: "Engine", lifecycle: Lifecycle) -> None:
    """Ends readiness as soon as the engine has failed, and the process soon after; the supervisor starts another."""

    def watch() -> None:
        engine.wait_until_stopped()
        if engine.failed:
            lifecycle.ready = False
            log.critical("The engine has failed; the process ends")
            time.sleep(ANSWER_SECONDS)
            os._exit(1)

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()
