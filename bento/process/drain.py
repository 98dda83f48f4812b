"""The life of a worker from ready to stopped, with a graceful shutdown on SIGTERM and SIGINT."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from bento.process.supervisor import READY_FD

log = logging.getLogger("precis.lifecycle")

QUIET_SECONDS = 0.5  # without a request, after which the server may close
CANCEL_SECONDS = 2.0  # in which requests answer that the server is shutting down, before their tasks are cancelled
POLL_SECONDS = 0.05


class Lifecycle:
    """The worker is `ready` after the warm-up and `draining` from SIGTERM on.

    `requests` holds the tasks of the requests that a shutdown waits for, `other_tasks` those that it may cut off (an
    open page polls without end). `last_request_ended` is the time.monotonic() of the last answer to the API.
    `stop_seconds` is the longest time that a shutdown takes.
    """

    def __init__(self) -> None:
        self.address: str | None = None
        self.ready = False
        self.draining = False
        self.last_request_ended = 0.0
        self.stop_seconds = 0.0
        self.requests: set[asyncio.Task[Any]] = set()
        self.other_tasks: set[asyncio.Task[Any]] = set()
        self.drain_task: asyncio.Task[None] | None = None  # kept, since a loop holds its tasks weakly

    @property
    def serving(self) -> bool:
        """Whether new requests are taken."""
        return self.ready and not self.draining

    def mark_ready(self) -> None:
        """Lets /readyz answer 200, and reports to the supervisor of `python -m bento`, if that runs this worker."""
        self.ready = True
        log.info("Ready", extra={"fields": {"address": self.address}})
        if fd := os.environ.pop(READY_FD, None):
            os.write(int(fd), f"1 {self.stop_seconds}".encode())
            os.close(int(fd))


lifecycle = Lifecycle()


def install_signal_handlers(
    lifecycle: Lifecycle, linger_seconds: float, grace_seconds: float, close_engine: Callable[[], None]
) -> None:
    """Lets SIGTERM and SIGINT drain the worker first; the server's own handler is called when nothing runs any more.

    From the signal on, new work gets 503, for at least `linger_seconds` (none after SIGINT, which a terminal sends).
    After `grace_seconds` `close_engine` ends the requests that still run. To be called in the main thread, while the
    event loop runs and after the server has installed its handlers.
    """
    lifecycle.stop_seconds = linger_seconds + grace_seconds + CANCEL_SECONDS
    loop, server_handler = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    async def drain(linger: float) -> None:
        await _wait_for_requests(lifecycle, linger, grace_seconds)
        unfinished = set(lifecycle.requests)  # they leave the set of the lifecycle as they end
        if unfinished:
            await asyncio.to_thread(close_engine)
            await asyncio.wait(unfinished, timeout=CANCEL_SECONDS)
        for task in lifecycle.requests | lifecycle.other_tasks:
            task.cancel()
        log.info("Stopped with %d requests unfinished", len(unfinished))
        if callable(server_handler):
            server_handler(signal.SIGTERM, None)

    def start_drain(linger: float) -> None:
        lifecycle.drain_task = loop.create_task(drain(linger))

    def on_signal(number: int, _: FrameType | None) -> None:
        if not lifecycle.draining:
            lifecycle.draining = True
            loop.call_soon_threadsafe(start_drain, 0.0 if number == signal.SIGINT else linger_seconds)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


async def _wait_for_requests(lifecycle: Lifecycle, linger: float, grace: float) -> None:
    """Returns after `linger` seconds at least, and then when no request runs or `grace` seconds have passed.

    A client that was just answered may send its next request on the same connection. So the wait goes on until there
    was none for QUIET_SECONDS: that request gets a 503 rather than a closed connection.
    """
    log.info("Draining with %d requests running", len(lifecycle.requests))
    started = time.monotonic()
    quiet = min(QUIET_SECONDS, linger)
    while (waited := (now := time.monotonic()) - started) < linger or (
        waited < grace and (lifecycle.requests or now - lifecycle.last_request_ended < quiet)
    ):
        await asyncio.sleep(POLL_SECONDS)
