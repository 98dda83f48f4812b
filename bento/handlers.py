"""From a request's body to its response: validation, the engine, the evidence, and an error for all that can fail."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from bento import metrics
from bento.errors import ServiceError, from_engine_error, from_exception
from bento.middleware.caller import current_caller
from bento.schema import BatchRequest, SummarizeOptions, SummarizeRequest, SummarizeResponse, parse_request
from precis import Engine, EngineError, GenerationParams, Summary
from precis.grounding.evidence import find_evidence
from precis.text.workers import TextWorkers

HEARTBEAT_SECONDS = 10.0  # without a delta, after which a stream sends a comment to keep its connection open
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the second one is for nginx

Handler = Callable[["RequestHandler", bytes], Awaitable[Response]]


def with_error_responses(handler: Handler) -> Handler:
    """The handler, with its ServiceErrors and EngineErrors turned into responses.

    BentoML would log an exception with its traceback and answer in another form.
    """

    @functools.wraps(handler)
    async def wrapper(self: "RequestHandler", body: bytes) -> Response:
        try:
            return await handler(self, body)
        except ServiceError as error:
            return error.response()
        except EngineError as error:
            return from_engine_error(error).response()

    return wrapper


class RequestHandler:
    """Answers the endpoints. Each method takes a request's body and returns its response, whatever goes wrong.

    `max_seconds` is the server's own time limit for a request.
    """

    def __init__(self, engine: Engine, max_seconds: float) -> None:
        self.engine, self.max_seconds = engine, max_seconds
        self.model_name = str(engine.bundle.manifest.name)
        self.evidence_workers = TextWorkers()  # not the engine's, where texts wait to be tokenized

    @with_error_responses
    async def summarize(self, body: bytes) -> Response:
        """One text."""
        started = time.monotonic()
        request = parse_request(SummarizeRequest, body)
        deadline = started + self._seconds(request)
        response = await self._summarize(request.text, request, request.generation_params(), deadline)
        return JSONResponse(response.as_json())

    @with_error_responses
    async def summarize_batch(self, body: bytes) -> Response:
        """Several texts: a summary or an error for each, in order."""
        started = time.monotonic()
        request = parse_request(BatchRequest, body)
        deadline = started + self._seconds(request)
        params = request.generation_params()
        self.engine.check_admission()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for text in request.texts:
                tasks.append(group.create_task(self._batch_result(text, request, params, deadline)))
                await asyncio.sleep(0)  # a short text is tokenized at once: other requests come in between
        return JSONResponse({"results": [task.result() for task in tasks]})

    @with_error_responses
    async def stream(self, body: bytes) -> Response:
        """One text as server-sent events: `delta` with a part of the summary, `done` with the response, or `error`.

        What fails before the first event has a status of its own.
        """
        started = time.monotonic()
        request = parse_request(SummarizeRequest, body)
        deadline = started + self._seconds(request)
        params = request.generation_params()
        deltas = self.engine.stream(
            request.text, params, timeout=deadline - time.monotonic(), caller=current_caller.get()
        )
        items = with_heartbeats(deltas, HEARTBEAT_SECONDS)
        first = await anext(items)
        events = self._events(request, deadline, items, first)
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)

    async def _events(
        self,
        request: SummarizeRequest,
        deadline: float,
        items: AsyncGenerator[str | Summary | None],
        item: str | Summary | None,
    ) -> AsyncGenerator[bytes]:
        metrics.open_streams.inc()
        try:
            while not isinstance(item, Summary):
                yield b": alive\n\n" if item is None else _event("delta", {"text": item})
                item = await anext(items)
            response = await self._response(request.text, request, item, deadline)
            yield _event("done", response.as_json())
        except Exception as error:  # the status has been sent, so that only an event can tell
            yield _event("error", from_exception(error).body())
        finally:
            metrics.open_streams.dec()
            await items.aclose()

    async def _summarize(
        self, text: str, options: SummarizeOptions, params: GenerationParams, deadline: float
    ) -> SummarizeResponse:
        summary = await self.engine.summarize(
            text, params, timeout=deadline - time.monotonic(), caller=current_caller.get()
        )
        return await self._response(text, options, summary, deadline)

    async def _batch_result(
        self, text: str, options: SummarizeOptions, params: GenerationParams, deadline: float
    ) -> dict[str, Any]:
        try:
            return (await self._summarize(text, options, params, deadline)).as_json()
        except Exception as error:
            return from_exception(error).body()

    async def _response(
        self, text: str, options: SummarizeOptions, summary: Summary, deadline: float
    ) -> SummarizeResponse:
        evidence = None
        if options.evidence:
            search = functools.partial(find_evidence, text, summary.text)
            evidence = await self.evidence_workers.run(text, deadline, search, current_caller.get())
        metrics.observe(summary, evidence)
        return SummarizeResponse.from_summary(summary, self.model_name, evidence)

    def _seconds(self, options: SummarizeOptions) -> float:
        return min(self.max_seconds, options.timeout_ms / 1000) if options.timeout_ms else self.max_seconds


async def with_heartbeats(items: AsyncGenerator[Any], seconds: float) -> AsyncGenerator[Any]:
    """The items, and None whenever none has come for so many seconds."""
    pending: asyncio.Task[Any] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(items))
            if not (await asyncio.wait({pending}, timeout=seconds))[0]:
                yield None
                continue
            done, pending = pending, None
            try:
                item = done.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
        await items.aclose()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
