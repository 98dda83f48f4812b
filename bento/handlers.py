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
from precis.grounding.assessment import Assessment, assess, fallback_params, needs_evidence
from precis.grounding.certificate import check_min_trust
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

    `max_seconds` is the server's own time limit for a request, `min_trust` its least trust of a written summary.
    """

    def __init__(self, engine: Engine, max_seconds: float, min_trust: float | None = None) -> None:
        self.engine, self.max_seconds, self.min_trust = engine, max_seconds, min_trust
        self.model_name = str(engine.bundle.manifest.name)
        self.evidence_workers = TextWorkers()  # not the engine's, where texts wait to be tokenized

    @with_error_responses
    async def summarize(self, body: bytes) -> Response:
        """One text."""
        started = time.monotonic()
        request = parse_request(SummarizeRequest, body)
        deadline = started + self._seconds(request)
        response = await self._summarize(request.text, request, self._params(request), deadline)
        return JSONResponse(response.as_json())

    @with_error_responses
    async def summarize_batch(self, body: bytes) -> Response:
        """Several texts: a summary or an error for each, in order."""
        started = time.monotonic()
        request = parse_request(BatchRequest, body)
        deadline = started + self._seconds(request)
        params = self._params(request)
        self.engine.check_admission(current_caller.get().name, deadline - time.monotonic())
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
        params = self._params(request)
        caller, seconds = current_caller.get(), deadline - time.monotonic()
        deltas = self.engine.stream(request.text, params, timeout=seconds, caller=caller.name, weight=caller.weight)
        items = with_heartbeats(deltas, HEARTBEAT_SECONDS)
        first = await anext(items)
        events = self._events(request, params, deadline, items, first)
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)

    async def _events(
        self,
        request: SummarizeRequest,
        params: GenerationParams,
        deadline: float,
        items: AsyncGenerator[str | Summary | None],
        item: str | Summary | None,
    ) -> AsyncGenerator[bytes]:
        metrics.open_streams.inc()
        held_back = self._min_trust(request, params) is not None  # until it is known whether this is the answer
        try:
            while not isinstance(item, Summary):
                yield b": alive\n\n" if item is None or held_back else _event("delta", {"text": item})
                item = await anext(items)
            response = await self._trusted(request.text, request, params, item, deadline)
            if held_back:
                yield _event("delta", {"text": response.summary})
            yield _event("done", response.as_json())
        except Exception as error:  # the status has been sent, so that only an event can tell
            yield _event("error", from_exception(error).body())
        finally:
            metrics.open_streams.dec()
            await items.aclose()

    async def _summarize(
        self, text: str, options: SummarizeOptions, params: GenerationParams, deadline: float
    ) -> SummarizeResponse:
        summary = await self._summary(text, params, deadline)
        return await self._trusted(text, options, params, summary, deadline)

    async def _summary(self, text: str, params: GenerationParams, deadline: float) -> Summary:
        caller, seconds = current_caller.get(), deadline - time.monotonic()
        return await self.engine.summarize(text, params, timeout=seconds, caller=caller.name, weight=caller.weight)

    async def _trusted(
        self, text: str, options: SummarizeOptions, params: GenerationParams, summary: Summary, deadline: float
    ) -> SummarizeResponse:
        """The response for the summary, or what the request wants instead of one below its `min_trust`."""
        assessment = await self._assess(text, options, params, summary, deadline)
        least = self._min_trust(options, params)
        if not assessment.is_below(least):
            return self._response(summary, assessment)
        if options.below_trust == "refuse":
            metrics.rejections.labels("below_trust").inc()
            raise ServiceError(422, "below_trust", assessment.reason(least), "min_trust")
        if summary.extracted is not None:
            return self._response(summary, assessment)
        instead = fallback_params(params)
        sentence = await self._summary(text, instead, deadline)
        response = self._response(sentence, await self._assess(text, options, instead, sentence, deadline))
        return response.model_copy(update={"fallback": "extract"})

    async def _batch_result(
        self, text: str, options: SummarizeOptions, params: GenerationParams, deadline: float
    ) -> dict[str, Any]:
        try:
            return (await self._summarize(text, options, params, deadline)).as_json()
        except Exception as error:
            return from_exception(error).body()

    async def _assess(
        self, text: str, options: SummarizeOptions, params: GenerationParams, summary: Summary, deadline: float
    ) -> Assessment:
        certificate = self.engine.certificate(params)
        work = functools.partial(assess, text, summary, certificate, options.evidence)
        if needs_evidence(summary, certificate, options.evidence):
            assessment = await self.evidence_workers.run(text, deadline, work, current_caller.get().name)
        else:
            assessment = work()
        metrics.observe(summary, assessment.evidence)
        return assessment

    def _response(self, summary: Summary, assessment: Assessment) -> SummarizeResponse:
        return SummarizeResponse.from_summary(summary, self.model_name, assessment.evidence, assessment.trust)

    def _params(self, options: SummarizeOptions) -> GenerationParams:
        """The engine's parameters. Raises GenerationError, also for a `min_trust` that no certificate covers."""
        params = options.generation_params()
        if options.min_trust is not None:
            check_min_trust(self.engine.bundle, params)
        return params

    def _min_trust(self, options: SummarizeOptions, params: GenerationParams) -> float | None:
        """The least trust that the answer needs; None for what the certificate does not cover."""
        least = self.min_trust if options.min_trust is None else options.min_trust
        return least if self.engine.certificate(params) else None

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
