"""Summarizes one text for the page: waits for admission, streams from the engine, reports each change of state."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bento.page import limits
from bento.page.admission import AdmissionQueue
from precis import Engine, GenerationParams, Summary, TextError
from precis.params import resolve

POLL_SECONDS = 0.5  # an unchanged state is yielded again after so long, so that Gradio notices a visitor who has left
FRAME_SECONDS = 0.05  # shortest time between two states of a growing summary

T = TypeVar("T")


class Stopped(Exception):
    """The visitor pressed Stop or started another text."""


@dataclass(frozen=True)
class Waiting:
    """The text waits for admission; `ahead` texts are admitted before it."""

    ahead: int


@dataclass(frozen=True)
class Reading:
    """The engine has had the text for `seconds` and has written nothing yet."""

    seconds: float


@dataclass(frozen=True)
class Writing:
    """`text` is the summary so far."""

    text: str


@dataclass(frozen=True)
class Done:
    """The summary, with the seconds from the request to its end and to its first words."""

    summary: Summary
    seconds: float
    first_seconds: float


State = Waiting | Reading | Writing | Done


async def summarize(
    engine: Engine, queue: AdmissionQueue, text: str, params: GenerationParams, stop: asyncio.Event
) -> AsyncGenerator[State, None]:
    """Yields the states of summarizing `text`; the last one is Done.

    Closing the generator frees the ticket and the engine's rows, so wrap it in contextlib.aclosing. Raises Stopped once
    `stop` is set, AdmissionQueueFull, TextError, and whatever Engine.stream raises.
    """
    if len(text) > limits.MAX_TEXT_CHARACTERS:
        raise TextError(
            f"The text has {len(text):,} characters, and this page takes {limits.MAX_TEXT_CHARACTERS:,}. "
            "Paste a part of it, or send it to the API."
        )
    started = time.perf_counter()
    beams = resolve(params, engine.bundle.generation_config).num_beams
    ticket = queue.enqueue(beams if len(text) <= limits.SHORT_TEXT_CHARACTERS else queue.rows)
    try:
        async with _Pending(ticket.admitted.wait()) as admission:
            while not await admission.done_within(POLL_SECONDS, stop):
                yield Waiting(queue.ahead_of(ticket))
        async with contextlib.aclosing(_stream(engine, text, params, stop, started)) as states:
            async for state in states:
                yield state
    finally:
        queue.release(ticket)


async def _stream(
    engine: Engine, text: str, params: GenerationParams, stop: asyncio.Event, started: float
) -> AsyncGenerator[State, None]:
    summary_so_far, first_seconds, last_frame, unshown = "", 0.0, started, False
    yield Reading(0.0)
    async with contextlib.aclosing(engine.stream(text, params, seconds=limits.TEXT_TIMEOUT_SECONDS)) as stream:
        while True:
            async with _Pending(anext(stream)) as pending:
                while not await pending.done_within(FRAME_SECONDS if unshown else POLL_SECONDS, stop):
                    yield Writing(summary_so_far) if summary_so_far else Reading(time.perf_counter() - started)
                    last_frame, unshown = time.perf_counter(), False
                delta = pending.task.result()
            now = time.perf_counter()
            first_seconds = first_seconds or now - started
            if isinstance(delta, Summary):
                yield Done(delta, now - started, first_seconds)
                return
            summary_so_far += delta
            # Redrawing the page for every token would keep the event loop from the API's requests.
            unshown = now - last_frame < FRAME_SECONDS
            if not unshown:
                yield Writing(summary_so_far)
                last_frame = now


class _Pending(Generic[T]):
    """An awaitable that is polled until it is done, and cancelled where the block ends before that."""

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self.task = asyncio.ensure_future(awaitable)

    async def done_within(self, seconds: float, stop: asyncio.Event) -> bool:
        """Whether the task is done after at most `seconds`. Raises Stopped as soon as `stop` is set."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({self.task, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if stop.is_set():
            raise Stopped
        return self.task.done()

    async def __aenter__(self) -> "_Pending[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self.task
