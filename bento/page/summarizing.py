"""Summarizes one text for the page: waits for admission, streams from the engine, reports each change of state."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.text_size import count_tokens
from precis import Engine, GenerationParams, Summary
from precis.params import resolve

POLL_SECONDS = 0.5  # between two reports of the place in the queue
FRAME_SECONDS = 0.05  # shortest time between two states of a growing summary


@dataclass(frozen=True)
class Waiting:
    """The text waits for admission; `ahead` texts are admitted before it."""

    ahead: int


@dataclass(frozen=True)
class Reading:
    """The engine has the text and has written nothing yet; `chunked` says that the text is read chunk by chunk."""

    chunked: bool


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
    engine: Engine, queue: AdmissionQueue, text: str, params: GenerationParams, visitor: str = ""
) -> AsyncGenerator[State, None]:
    """Yields the states of summarizing the visitor's `text`; the last one is Done.

    Closing the generator, or cancelling it, frees the ticket and the engine's rows, so wrap it in contextlib.aclosing.
    Raises AdmissionQueueFull, TextError, and whatever Engine.stream raises.
    """
    started = time.perf_counter()
    resolved = resolve(params, engine.bundle.generation_config)
    rows = 1 if resolved.mode == "extract" else resolved.num_beams
    is_long = await count_tokens(engine, text) > limits.SHORT_TEXT_TOKENS
    ticket = queue.enqueue(rows, visitor, is_long)
    try:
        while not await _admitted(ticket.admitted, POLL_SECONDS):
            yield Waiting(queue.ahead_of(ticket))
        yield Reading(chunked=is_long and params.long_text == "split")
        stream = engine.stream(text, params, timeout=limits.TEXT_TIMEOUT_SECONDS, caller="page")
        async with contextlib.aclosing(_growing(stream, started)) as states:
            async for state in states:
                yield state
    finally:
        queue.release(ticket)


async def _admitted(admitted: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(admitted.wait(), seconds)
    return admitted.is_set()


async def _growing(stream: AsyncGenerator[str | Summary, None], started: float) -> AsyncGenerator[Writing | Done, None]:
    summary_so_far, first_seconds, last_frame = "", 0.0, started
    async with contextlib.aclosing(stream):
        async for delta in stream:
            now = time.perf_counter()
            first_seconds = first_seconds or now - started
            if isinstance(delta, Summary):
                yield Done(delta, now - started, first_seconds)
                return
            summary_so_far += delta
            # Redrawing the page for every token would keep the event loop from the API's requests.
            if now - last_frame >= FRAME_SECONDS:
                yield Writing(summary_so_far)
                last_frame = now
