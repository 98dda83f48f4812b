"""The BentoML service: `bentoml serve bento.service:Summarizer`."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator

import bentoml
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, StreamingResponse

from bento import logs, metrics
from bento.handlers import Failure, Work
from bento.middleware.gate import Gate
from bento.process import loading
from bento.process.lifecycle import in_supervisor, lifecycle
from bento.process.state import set_engine
from bento.routes import make_site
from bento.schema import BatchAnswer, BatchRequest, SummarizeAnswer, SummarizeRequest
from bento.settings import split

# A worker loads while the rest is imported. BentoML's supervisor imports this module before it starts one, and ends
# here where that could not serve.
chosen = loading.chosen()
if bentoml.server_context.worker_index is None:
    loading.check()
else:
    loading.begin()

UNTRACED = r"://[^/]*/(livez|healthz|readyz|metrics|favicon\.ico|ui)([/?]|$)"
FLUSH = 2.0  # seconds for the last spans when the service stops

logs.configure(chosen.log_format)
tracing = {"excluded_urls": ".*"}
if chosen.otlp_endpoint:
    tracing = {
        "exporter_type": "otlp",
        "sample_rate": 1.0,
        "excluded_urls": UNTRACED,
        "otlp": {"protocol": "http", "endpoint": chosen.otlp_endpoint},
    }


@bentoml.service(
    name="precis",
    # Longer than any request, which the engine ends in time: this one ends them in another form.
    traffic={"timeout": chosen.body_seconds + chosen.timeout_seconds + 60},
    metrics={"enabled": False},  # its labels hold whatever address a client asks for
    logging={"access": {"enabled": False}},
    tracing=tracing,
)
@bentoml.asgi_app(make_site(chosen), path="/")
class Summarizer:
    """Summarizes texts with a fine-tuned T5 on ONNX Runtime."""

    def __init__(self) -> None:
        self.engine = loading.begin().result()
        self.work = Work(self.engine, chosen.timeout_seconds)
        set_engine(self.engine)
        metrics.registry.register(metrics.EngineCollector(self.engine))
        # What was loaded stays; collecting over it again and again costs tail latency.
        gc.freeze()

    @bentoml.on_deployment
    def prepare() -> None:
        """Runs in BentoML's supervisor."""
        in_supervisor()

    @bentoml.on_startup
    async def start(self) -> None:
        """Ready from here on."""

        async def tell() -> None:
            await asyncio.to_thread(self.engine.close)

        lifecycle.listen(chosen.linger_seconds, chosen.grace_seconds, tell)
        lifecycle.begin()

    @bentoml.api(route="/summarize")
    async def summarize(self, request: SummarizeRequest, /) -> SummarizeAnswer:
        """Summarize one text."""
        try:
            answer = await self.work.one(request)
        except Failure as failure:
            return _refused(failure)
        return JSONResponse(answer.model_dump(exclude_none=True))

    @bentoml.api(route="/summarize_batch")
    async def summarize_batch(self, request: BatchRequest, /) -> BatchAnswer:
        """Summarize up to 64 texts; each has its summary or its error, in order."""
        try:
            results = await self.work.many(request)
        except Failure as failure:
            return _refused(failure)
        return JSONResponse({"results": results})

    @bentoml.api(route="/summarize_stream")
    async def summarize_stream(self, request: SummarizeRequest, /) -> AsyncGenerator[str, None]:
        """Summarize one text and send the summary as it grows, as server-sent events `delta`, `done` and `error`."""
        try:
            events = await self.work.stream(request)
        except Failure as failure:
            return _refused(failure)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Ends the engine's thread, and sends the last spans, which the process's end by a signal would lose."""
        self.engine.close()
        if chosen.otlp_endpoint:
            from bentoml._internal.configuration.containers import BentoMLContainer

            flush = threading.Thread(target=BentoMLContainer.tracer_provider.get().force_flush, daemon=True)
            flush.start()
            flush.join(FLUSH)


def _refused(failure: Failure) -> JSONResponse:
    # A response passes through BentoML as it is; its own exceptions would lose the form.
    return JSONResponse(failure.body, status_code=failure.status, headers=failure.headers)


# A generator could not answer with another status than 200, so the method returns a response; BentoML's clients are
# told here that it is a stream.
streaming = Summarizer.apis["summarize_stream"]
streaming.is_stream = True
streaming.output_spec.media_type = "text/event-stream"

if chosen.cors_origins:
    Summarizer.add_asgi_middleware(
        CORSMiddleware,
        allow_origins=split(chosen.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
    )
Summarizer.add_asgi_middleware(Gate, settings=chosen, lifecycle=lifecycle)
