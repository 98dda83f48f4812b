"""From a checked request to its answer: the engine, the evidence, and an HTTP status for all that can go wrong."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from bento import metrics
from bento.schema import BatchRequest, SummarizeAnswer, SummarizeOptions, SummarizeRequest, error_body
from precis import (
    DeadlineExceeded,
    Engine,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationError,
    GenerationParams,
    Summary,
    TextError,
)
from precis.grounding.evidence import find_evidence

log = logging.getLogger("precis.work")

LONG = 20_000  # characters; longer texts are tokenized and compared in a thread, so that others are not kept waiting
HEARTBEAT = 10.0  # seconds of silence after which a stream says that it is alive
STOPPING = "The server stops; ask again."
RESTART = 5  # seconds after which a stopped server is expected to be replaced


@dataclass(eq=False)
class Failure(Exception):
    """A request that is not answered with a summary."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def failure(error: Exception) -> Failure:
    """What a caller is told of an exception of the engine's."""
    match error:
        case GenerationError():
            return Failure(422, error_body("invalid_field", str(error), error.field))
        case TextError():
            return Failure(422, error_body("invalid_field", str(error), "text"))
        case EngineFull():
            metrics.rejections.labels("full").inc()
            return Failure(429, error_body("full", str(error)), {"Retry-After": str(math.ceil(error.retry_after))})
        case DeadlineExceeded():
            metrics.rejections.labels("timeout").inc()
            return Failure(504, error_body("timeout", "The summary was not ready in time."))
        case EngineClosed():
            metrics.rejections.labels("stopping").inc()
            return Failure(503, error_body("stopping", STOPPING), {"Retry-After": str(RESTART)})
    log.error("A request failed", exc_info=error)
    return Failure(500, error_body("internal", "The summary failed; the server's log tells why."))


class Work:
    """The engine as the endpoints see it. `longest` is the server's own limit for one request, in seconds."""

    def __init__(self, engine: Engine, longest: float) -> None:
        self.engine, self.longest = engine, longest
        self.model = str(engine.bundle.manifest.name)

    async def one(self, request: SummarizeRequest) -> SummarizeAnswer:
        """Raises Failure."""
        try:
            return await self._answer(request.text, request, request.generation())
        except EngineError as error:
            raise failure(error) from None

    async def many(self, request: BatchRequest) -> list[dict[str, Any]]:
        """For each text its answer or its error. Raises Failure where the settings clash or nothing can be taken on."""
        try:
            generation = request.generation()
            self.engine.check_admission()
        except EngineError as error:
            raise failure(error) from None
        found = await asyncio.gather(
            *(self._answer(text, request, generation) for text in request.texts), return_exceptions=True
        )
        results = []
        for outcome in found:
            if isinstance(outcome, SummarizeAnswer):
                results.append(outcome.model_dump(exclude_none=True))
            elif isinstance(outcome, EngineError):
                results.append(failure(outcome).body)
            else:
                raise outcome
        return results

    async def stream(self, request: SummarizeRequest) -> AsyncIterator[bytes]:
        """Server-sent events: `delta` with a part of the summary, `done` with the whole answer, or `error`.

        Raises Failure before the first one; after it, what goes wrong is an event, too.
        """
        try:
            pieces = self.engine.stream(request.text, request.generation(), timeout=self._seconds(request))
            items = _or_none(pieces, HEARTBEAT)
            first = await anext(items)
        except EngineError as error:
            raise failure(error) from None
        return self._events(request, items, first)

    async def _events(
        self, request: SummarizeRequest, items: AsyncIterator[str | Summary | None], item: str | Summary | None
    ) -> AsyncIterator[bytes]:
        metrics.streams.inc()
        try:
            while not isinstance(item, Summary):
                yield b": alive\n\n" if item is None else _event("delta", {"text": item})
                item = await anext(items)
            answer = await self._told(request.text, request, item)
            yield _event("done", answer.model_dump(exclude_none=True))
        except EngineError as error:
            yield _event("error", failure(error).body)
        finally:
            metrics.streams.dec()
            await items.aclose()

    async def _answer(self, text: str, request: SummarizeOptions, generation: GenerationParams) -> SummarizeAnswer:
        summary = await self.engine.summarize(text, generation, timeout=self._seconds(request))
        return await self._told(text, request, summary)

    async def _told(self, text: str, request: SummarizeOptions, summary: Summary) -> SummarizeAnswer:
        evidence = None
        if request.evidence:
            compare = asyncio.to_thread(find_evidence, text, summary.text) if len(text) > LONG else None
            evidence = await compare if compare else find_evidence(text, summary.text)
        metrics.observe(summary, evidence)
        return SummarizeAnswer.of(summary, self.model, evidence)

    def _seconds(self, request: SummarizeOptions) -> float:
        return min(self.longest, request.timeout_ms / 1000) if request.timeout_ms else self.longest


async def _or_none(items: AsyncIterator[Any], seconds: float) -> AsyncIterator[Any]:
    """The items, and None whenever there was none for so many seconds."""
    coming: asyncio.Task | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            if not (await asyncio.wait({coming}, timeout=seconds))[0]:
                yield None
                continue
            done, coming = coming, None
            try:
                item = done.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        await items.aclose()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
