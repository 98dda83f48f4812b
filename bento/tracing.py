"""OpenTelemetry: a span for each request, sent to a collector over OTLP."""

import threading

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.middleware import Middleware

NOT_TRACED = r"://[^/]*/(livez|healthz|readyz|metrics|favicon\.ico|ui)([/?]|$)"
FLUSH_SECONDS = 2.0  # for the last spans at shutdown


def tracing_middleware(endpoint: str) -> Middleware:
    """The middleware that records spans; they are sent to `endpoint` in the background."""
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "precis"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return Middleware(OpenTelemetryMiddleware, excluded_urls=NOT_TRACED, tracer_provider=provider)


def flush_spans() -> None:
    """Sends the spans that were not sent yet, for at most FLUSH_SECONDS: a signal ends the process without its exit
    handlers, which would do it."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        flush = threading.Thread(target=provider.force_flush, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
