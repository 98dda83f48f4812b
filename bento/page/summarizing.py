"""A text's way through the line and the engine, in the steps that the page shows."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

from bento.page.admission import Line, LineFull
from precis import Engine, EngineError, GenerationParams, Summary, TextError

MAX_CHARACTERS = 40_000  # of one text: about a third of what may wait for the engine at once
SHORT_CHARACTERS = 4_000  # what is longer is likely to be decoded in many pieces at once
DEADLINE = 120.0  # seconds of work
TICK = 0.5  # seconds after which a silent step is repeated: so a visitor who has left is noticed
FRAME = 0.05  # seconds between two views of a growing summary


class Stopped(Exception):
    """The visitor pressed Stop, or began another text."""


@dataclass(frozen=True)
class Waiting:
    """So many are `ahead` in the line."""

    ahead: int


@dataclass(frozen=True)
class Reading:
    """The engine has the text, and nothing is written yet."""

    seconds: float


@dataclass(frozen=True)
class Writing:
    """The summary so far."""

    text: str


@dataclass(frozen=True)
class Done:
    """The summary, the seconds it took from the visitor's wish, and those to its first piece."""

    summary: Summary
    seconds: float
    first: float


Step = Waiting | Reading | Writing | Done
REFUSALS = (EngineError, LineFull)  # their text is a sentence for the visitor


async def steps(
    engine: Engine, line: Line, text: str, generation: GenerationParams, beams: int, stop: asyncio.Event
) -> AsyncIterator[Step]:
    """Waits in the line, then streams the summary; whatever ends it frees the place and the engine's rows.

    `beams` is what `generation` comes to with the bundle's own settings. Close it (contextlib.aclosing) where it may
    not be read to its end. Raises Stopped when `stop` is set, LineFull, and what Engine.stream raises.
    """
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"The text has {len(text):,} characters, and this page takes {MAX_CHARACTERS:,}. "
            "Paste a part of it, or send it to the API."
        )
    began = time.perf_counter()
    place = line.join(beams if len(text) <= SHORT_CHARACTERS else line.rows)
    try:
        async with _Settling(place.wait()) as reached:
            while not await reached.within(TICK, stop):
                yield Waiting(place.ahead)
        async with contextlib.aclosing(_stream(engine, text, generation, stop, began)) as stream:
            async for step in stream:
                yield step
    finally:
        place.leave()


async def _stream(
    engine: Engine, text: str, generation: GenerationParams, stop: asyncio.Event, began: float
) -> AsyncIterator[Step]:
    shown, first, viewed, behind = "", 0.0, began, False
    yield Reading(0.0)
    async with contextlib.aclosing(engine.stream(text, generation, timeout=DEADLINE)) as stream:
        while True:
            async with _Settling(anext(stream)) as coming:
                while not await coming.within(FRAME if behind else TICK, stop):
                    yield Writing(shown) if shown else Reading(time.perf_counter() - began)
                    viewed, behind = time.perf_counter(), False
                piece = coming.work.result()
            now = time.perf_counter()
            first = first or now - began
            if isinstance(piece, Summary):
                yield Done(piece, now - began, first)
                return
            shown += piece
            # A page that is drawn anew for every token would keep the event loop from the API.
            behind = now - viewed < FRAME
            if not behind:
                yield Writing(shown)
                viewed = now


class _Settling:
    """Work that is waited for in turns, and cancelled where it is left unfinished."""

    def __init__(self, awaitable: Awaitable) -> None:
        self.work = asyncio.ensure_future(awaitable)

    async def within(self, seconds: float, stop: asyncio.Event) -> bool:
        """Whether the work is done before `seconds` are over. Raises Stopped as soon as `stop` is set."""
        halt = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({self.work, halt}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halt.cancel()
        if stop.is_set():
            raise Stopped
        return self.work.done()

    async def __aenter__(self) -> "_Settling":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.work.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self.work
