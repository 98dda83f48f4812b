"""Summarizes one text for the page: waits for admission, streams from the engine, reports each change of state.

A document that is longer than one text may be is summarized in parts, and then the summaries of its parts.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.item_queue import enqueue_all
from bento.page.long_document import split_parts
from bento.page.text_size import count_tokens
from precis import Engine, GenerationParams, Summary, TextError
from precis.params import resolve

POLL_SECONDS = 0.5  # between two reports of the place in the queue
AT_ONCE_SECONDS = 0.05  # a text that is admitted within this time reports no place
FRAME_SECONDS = 0.05  # shortest time between two states of a growing summary


@dataclass(frozen=True)
class Waiting:
    """The text waits for admission; `ahead` texts are admitted before it."""

    ahead: int


@dataclass(frozen=True)
class Reading:
    """The engine has the text and has written nothing yet; `summarized` of about `chunks` chunks have a summary."""

    chunks: int
    summarized: int = 0


@dataclass(frozen=True)
class ReadingPart:
    """Part `number` of `parts` of a long document is being read; `chunks` of its chunks so far are summarized."""

    number: int
    parts: int
    chunks: int


@dataclass(frozen=True)
class Writing:
    """`text` is the summary so far."""

    text: str


@dataclass(frozen=True)
class Done:
    """The summary, with the seconds from the request to its end and to its first words.

    `sentences` are those that an extraction chose, as they stand in the summary; empty for a written summary.
    """

    summary: Summary
    seconds: float
    first_seconds: float
    sentences: tuple[str, ...] = ()


State = Waiting | Reading | ReadingPart | Writing | Done


async def summarize(
    engine: Engine, queue: AdmissionQueue, text: str, params: GenerationParams, visitor: str = ""
) -> AsyncGenerator[State, None]:
    """Yields the states of summarizing the visitor's `text`; the last one is Done.

    Closing the generator, or cancelling it, frees the ticket and the engine's rows, so wrap it in contextlib.aclosing.
    Raises AdmissionQueueFull, TextError, and whatever Engine.stream raises.
    """
    if len(text) > limits.MAX_DOCUMENT_CHARACTERS:
        raise TextError(
            f"The text has {len(text):,} characters, and this page takes {limits.MAX_DOCUMENT_CHARACTERS:,}. "
            "Paste a part of it, or send it to the API."
        )
    is_document = len(text) > limits.MAX_TEXT_CHARACTERS
    if is_document and params.long_text == "refuse":
        raise TextError(f"The text has {len(text):,} characters, far more than the model reads at once.")
    summarize_it = _summarize_document if is_document else _summarize_text
    async with contextlib.aclosing(summarize_it(engine, queue, text, params, visitor)) as states:
        async for state in states:
            yield state


async def _summarize_document(
    engine: Engine, queue: AdmissionQueue, text: str, params: GenerationParams, visitor: str
) -> AsyncGenerator[State, None]:
    """As `summarize`, for a text of several parts, each of which waits for admission so that others get their turn."""
    started = time.perf_counter()
    parts = split_parts(text, limits.PART_CHARACTERS)
    summaries: list[Summary] = []
    for number, part in enumerate(parts if params.long_text == "split" else [], 1):
        yield ReadingPart(number, len(parts), sum(summary.chunks for summary in summaries))
        async with contextlib.aclosing(_summarize_text(engine, queue, part, params, visitor)) as states:
            async for state in states:
                if isinstance(state, Waiting):
                    yield state
                elif isinstance(state, Reading) and state.summarized:
                    finished = sum(summary.chunks for summary in summaries) + state.summarized
                    yield ReadingPart(number, len(parts), finished)
                elif isinstance(state, Done):
                    summaries.append(state.summary)
    last_started = time.perf_counter()
    last = "\n".join(summary.text for summary in summaries) or parts[0]
    async with contextlib.aclosing(_summarize_text(engine, queue, last, params, visitor)) as states:
        async for state in states:
            if isinstance(state, Done):
                summary = _of_document(state.summary, summaries, len(text) / len(parts[0]))
                now = time.perf_counter()
                first_seconds = last_started - started + state.first_seconds
                state = replace(state, summary=summary, seconds=now - started, first_seconds=first_seconds)
            yield state


def _of_document(last: Summary, parts: list[Summary], times_longer: float) -> Summary:
    """The last summary with the counts of the whole document, which is `times_longer` than its first part.

    Where only the first part was read, the tokens of the others are estimated.
    """
    if not parts:
        others = round(last.input_tokens * (times_longer - 1))
        read, unread, chunks = last.input_tokens + others, last.truncated_tokens + others, last.chunks
    else:
        read, unread = sum(part.input_tokens for part in parts), sum(part.truncated_tokens for part in parts)
        chunks = sum(part.chunks for part in parts)
    return replace(last, input_tokens=read, chunks=chunks, truncated_tokens=unread)


async def _summarize_text(
    engine: Engine, queue: AdmissionQueue, text: str, params: GenerationParams, visitor: str
) -> AsyncGenerator[State, None]:
    """As `summarize`, for a text that the engine takes in one request."""
    started = time.perf_counter()
    resolved = resolve(params, engine.bundle.generation_config)
    rows = 1 if resolved.mode == "extract" else resolved.num_beams
    tokens = await count_tokens(engine, text)
    is_long = tokens > limits.SHORT_TEXT_TOKENS
    chunks = math.ceil(tokens / engine.bundle.manifest.max_input_tokens) if params.long_text == "split" else 1
    ticket = queue.enqueue(rows, visitor, is_long)
    try:
        poll_seconds = AT_ONCE_SECONDS
        while not await _admitted(ticket.admitted, poll_seconds):
            yield Waiting(queue.ahead_of(ticket))
            poll_seconds = POLL_SECONDS
        yield Reading(chunks)
        states: asyncio.Queue[State | None] = asyncio.Queue()
        stream = engine.stream(
            text,
            params,
            timeout=limits.TEXT_TIMEOUT_SECONDS,
            caller=visitor or "page",
            on_chunk=lambda summarized, chunks: states.put_nowait(Reading(chunks, summarized)),
        )
        task = enqueue_all(_growing(stream, started), states)
        try:
            while (state := await states.get()) is not None:
                yield replace(state, sentences=_sentences(text, state.summary)) if isinstance(state, Done) else state
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})
    finally:
        queue.release(ticket)


def _sentences(text: str, summary: Summary) -> tuple[str, ...]:
    """The extracted sentences, each run of whitespace one space, as in the summary."""
    return tuple(" ".join(text[each.start : each.end].split()) for each in summary.extracted or ())


async def _admitted(admitted: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # wait_for of Python 3.11 ignores a Stop in the moment of the admission
            await admitted.wait()
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
