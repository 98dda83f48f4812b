"""From start to stop: what is ready, what still runs, and an orderly end on SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from bento.process.supervisor import READY

log = logging.getLogger("precis.lifecycle")

SUPERVISOR = "PRECIS_SUPERVISOR_PID"  # the variable by which a worker knows BentoML's supervisor
QUIET = 0.5  # seconds without a request, after which the server may close
CHECK_SECONDS = 1.0  # between two looks of the supervisor at its worker


class Lifecycle:
    """`ready` after the warm-up; `draining` from SIGTERM on. `running` holds the tasks of requests that are to be
    finished, `others` those that may be broken off (an open page asks for news without end)."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.ready = False
        self.draining = False
        self.answered = 0.0  # time.monotonic() of the last answer to the API
        self.running: set[asyncio.Task] = set()
        self.others: set[asyncio.Task] = set()

    @property
    def serving(self) -> bool:
        return self.ready and not self.draining

    def begin(self) -> None:
        """Ready from here on; our own supervisor is told."""
        self.ready = True
        log.info("Ready", extra={"fields": {"address": self.address}})
        if pipe := os.environ.pop(READY, None):
            os.write(int(pipe), b"1")
            os.close(int(pipe))

    def listen(self, linger: float, grace: float, tell: Callable[[], Awaitable[None]]) -> None:
        """Takes SIGTERM and SIGINT from the server, which gets them when nothing runs any more and answers until then.

        After `grace` seconds `tell` makes those that still run answer that the server stops. Called in the main thread.
        """
        loop, server = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        async def drain(least: float) -> None:
            began = time.monotonic()
            log.info("Stopping: %d requests run", len(self.running))
            # A client that was just answered may ask again on the same connection, and is told then.
            while (waited := time.monotonic() - began) < least or (self._busy(least) and waited < grace):
                await asyncio.sleep(0.05)
            left = len(self.running)
            if left:
                await tell()
                await asyncio.wait(self.running, timeout=2)
            for task in self.running | self.others:
                task.cancel()
            log.info("Stopped: %d requests were not done", left)
            server(signal.SIGTERM, None)

        def on_signal(number: int, _: object) -> None:
            at_a_terminal = number == signal.SIGINT
            if not self.draining:
                self.draining = True
                least = 0.0 if at_a_terminal else linger
                loop.call_soon_threadsafe(lambda: self._hold(loop.create_task(drain(least))))

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)

    def _busy(self, least: float) -> bool:
        return bool(self.running) or time.monotonic() - self.answered < min(QUIET, least)

    def _hold(self, task: asyncio.Task) -> None:
        self._drain = task  # a loop holds its tasks weakly


lifecycle = Lifecycle()


def in_supervisor() -> None:
    """What BentoML's supervisor is missing: it sees a dead worker after up to ten seconds, and starts one that cannot
    load its bundle again and again. Called there before its first worker is started."""
    import atexit

    from circus.controller import Controller

    if not getattr(Controller, "_looks_often", False):
        start = Controller.start

        def started(controller: Controller) -> None:
            controller.check_delay = min(controller.check_delay, CHECK_SECONDS * 1000)
            start(controller)

        Controller.start, Controller._looks_often = started, True
    failed = []

    def give_up(*_: object) -> None:
        failed.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGUSR1, give_up)
    atexit.register(lambda: os._exit(1) if failed else None)
    os.environ[SUPERVISOR] = str(os.getpid())


def refuse(message: str) -> NoReturn:
    """Ends this process with one sentence and status 1. A worker's supervisor starts no other: ours because this one
    never was ready, BentoML's because it is ended, too."""
    under_bentoml = os.environ.get(SUPERVISOR) == str(os.getppid())
    if not under_bentoml and READY not in os.environ:
        raise SystemExit(f"Not started: {message}")
    print(f"Not started: {message}", file=sys.stderr, flush=True)
    if under_bentoml:
        os.kill(os.getppid(), signal.SIGUSR1)
    os._exit(1)  # an exception would be logged with its traceback, and in a thread end nothing
