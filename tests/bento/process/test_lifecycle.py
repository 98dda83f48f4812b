"""The drain by itself: when the server's own handler is called."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from bento.process.drain import Lifecycle, install_signal_handlers


def drain(
    work_seconds: float, linger: float, grace: float, number: int = signal.SIGTERM, ends_with_engine: bool = False
) -> tuple[float, bool, bool]:
    """Sends the signal while a request runs; returns the seconds to the server's stop, and whether the engine was
    closed and the request was cancelled."""
    lifecycle, closed = Lifecycle(), []
    lifecycle.ready = True
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

    async def run() -> tuple[float, bool, bool]:
        stopped, work_ended, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

        def close_engine() -> None:
            closed.append(True)
            if ends_with_engine:
                loop.call_soon_threadsafe(work_ended.set)
                while lifecycle.requests:
                    time.sleep(0.01)

        async def work() -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(work_ended.wait(), work_seconds)

        signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # as the server does
        install_signal_handlers(lifecycle, linger, grace, close_engine)
        request = asyncio.create_task(work())
        lifecycle.requests.add(request)
        request.add_done_callback(lifecycle.requests.discard)
        started = time.monotonic()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stopped.wait(), 60)
        seconds = time.monotonic() - started
        assert not lifecycle.serving
        await asyncio.sleep(0)
        return seconds, bool(closed), request.cancelled()

    try:
        return asyncio.run(run())
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_drain_waits_for_running_requests():
    seconds, closed, cancelled = drain(work_seconds=0.4, linger=0, grace=60)
    assert 0.4 <= seconds < 30
    assert not closed
    assert not cancelled


def test_drain_lingers_after_sigterm_but_not_after_sigint():
    assert drain(work_seconds=0, linger=0.6, grace=5)[0] >= 0.6
    assert drain(work_seconds=0, linger=60, grace=60, number=signal.SIGINT)[0] < 30


def test_grace_period_ends_requests(monkeypatch):
    monkeypatch.setattr("bento.process.drain.CANCEL_SECONDS", 0.2)
    seconds, closed, cancelled = drain(work_seconds=60, linger=0, grace=0.3)
    assert 0.5 <= seconds < 30
    assert closed
    assert cancelled


def test_server_stops_when_the_engine_has_ended_all_requests():
    """Waiting for none of them failed, so that the worker did not stop and was killed."""
    seconds, closed, cancelled = drain(work_seconds=300, linger=0, grace=0.1, ends_with_engine=True)
    assert seconds < 30
    assert closed
    assert not cancelled


@pytest.mark.parametrize("fd_is_set", [True, False])
def test_mark_ready_reports_to_the_supervisor(monkeypatch, fd_is_set):
    reader, writer = os.pipe()
    if fd_is_set:
        monkeypatch.setenv("PRECIS_READY_FD", str(writer))
    lifecycle = Lifecycle()
    lifecycle.stop_seconds = 28.5
    lifecycle.mark_ready()
    assert lifecycle.serving
    if not fd_is_set:
        os.close(writer)
    assert os.read(reader, 64) == (b"1 28.5" if fd_is_set else b"")
    os.close(reader)
