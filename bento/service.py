"""The BentoML service: `bentoml serve bento.service:Summarizer`."""

# mypy: disable-error-code="untyped-decorator, attr-defined"
# BentoML ships no types.

import gc
import sys
from typing import Any, Self

import bentoml
from pydantic import BaseModel, PrivateAttr, RootModel
from starlette.responses import Response

from bento import logs, metrics
from bento.handlers import RequestHandler
from bento.middleware.stack import middleware_stack
from bento.process.drain import install_signal_handlers, lifecycle
from bento.process.failure import end_with_engine, stop_with_worker
from bento.process.start import check_bundle, load_settings, start_loading
from bento.process.state import set_engine
from bento.routes import make_site
from bento.schema import BatchRequest, BatchResponse, SummarizeRequest, SummarizeResponse

# A worker loads the engine while the rest is imported. BentoML's supervisor imports this module too, before it starts a
# worker, and ends here if the bundle cannot be served.
settings = load_settings()
if bentoml.server_context.worker_index is None:
    check_bundle()
else:
    start_loading()
logs.configure(settings.log_format)

# Seconds for which a thread keeps the interpreter while others wait. The decoding thread asks for it after each call of
# ONNX Runtime; by Python's own 5 ms, and even by 0.5 ms, work on a long text would double the time of every step.
SWITCH_SECONDS = 0.0001

# BentoML's timeout would answer in another form, so it is longer than any request, which the engine ends in time.
BENTOML_TIMEOUT = settings.body_seconds + settings.timeout_seconds + 60


class RawBody(BaseModel):
    """A request as BentoML sees it: with the fields of its schema, but not parsed.

    BentoML would log each invalid request with a traceback and answer in another form, so the handler validates.
    """

    _body: bytes = PrivateAttr()

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Self:
        """Called by BentoML for each request."""
        raw = cls.model_construct()
        raw._body = json_data.encode() if isinstance(json_data, str) else bytes(json_data)
        return raw  # type: ignore[return-value]  # what the plugin makes of model_construct

    def body(self) -> bytes:
        """The body as it was sent."""
        return self._body


class RawSummarizeRequest(RawBody, SummarizeRequest):
    """The body of /summarize and /summarize_stream."""


class RawBatchRequest(RawBody, BatchRequest):
    """The body of /summarize_batch."""


class EventStream(RootModel[str]):
    """Server-sent events `delta`, `done` and `error`."""


@bentoml.service(
    name="precis",
    traffic={"timeout": BENTOML_TIMEOUT},
    # BentoML's own metrics, access log and tracing cost half a request's time, and their labels hold unknown paths.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(make_site(settings), path="/")
class Summarizer:
    """Summarizes texts with a fine-tuned T5 on ONNX Runtime."""

    def __init__(self) -> None:
        self.engine = start_loading().result()
        self.handler = RequestHandler(self.engine, settings.timeout_seconds, settings.min_trust)
        set_engine(self.engine)
        metrics.registry.register(metrics.EngineCollector(self.engine))
        metrics.requests_in_flight.set_function(lambda: len(lifecycle.requests))
        sys.setswitchinterval(SWITCH_SECONDS)
        # What was loaded stays; walking it in every full collection costs tail latency.
        gc.freeze()

    @bentoml.on_deployment
    def prepare_supervisor() -> None:
        """Runs in BentoML's supervisor, before it starts a worker."""
        stop_with_worker()

    @bentoml.on_startup
    async def start(self) -> None:
        """Runs when the server is about to accept requests."""
        install_signal_handlers(lifecycle, settings.linger_seconds, settings.grace_seconds, self.engine.close)
        lifecycle.mark_ready()
        end_with_engine(self.engine, lifecycle)

    @bentoml.api(route="/summarize", output_spec=SummarizeResponse)
    async def summarize(self, request: RawSummarizeRequest, /) -> Response:
        """Summarize one text."""
        return await self.handler.summarize(request.body())

    @bentoml.api(route="/summarize_batch", output_spec=BatchResponse)
    async def summarize_batch(self, request: RawBatchRequest, /) -> Response:
        """Summarize up to 64 texts; each has its summary or its error, in order."""
        return await self.handler.summarize_batch(request.body())

    @bentoml.api(route="/summarize_stream", output_spec=EventStream)
    async def summarize_stream(self, request: RawSummarizeRequest, /) -> Response:
        """Summarize one text and send the summary as it grows, as server-sent events `delta`, `done` and `error`."""
        return await self.handler.stream(request.body())

    @bentoml.on_shutdown
    def close(self) -> None:
        """Ends the engine's thread and sends the last spans."""
        self.engine.close()
        if settings.otlp_endpoint:
            from bento.tracing import flush_spans

            flush_spans()


# An async generator would be known to BentoML's clients as a stream, but it could not answer with an error status.
stream_api = Summarizer.apis["summarize_stream"]
stream_api.is_stream = True
stream_api.output_spec.media_type = "text/event-stream"

for middleware in middleware_stack(settings, lifecycle):
    Summarizer.add_asgi_middleware(middleware.cls, **middleware.kwargs)
