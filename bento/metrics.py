"""Prometheus metrics. All labels have few known values; a server has one worker, so its own memory holds them."""

import os

# BentoML sets this for servers of several workers: values would go to files, which two servers delete for each other.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from precis import Engine, Summary
from precis.grounding.evidence import Evidence

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
INPUT_TOKENS = tuple(2**power for power in range(4, 18))
OUTPUT_TOKENS = INPUT_TOKENS[:6]
RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.33, 2, 4, 10)

disable_created_metrics()
registry = CollectorRegistry()
ProcessCollector(registry=registry)


def _histogram(name: str, documentation: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
    return Histogram(f"precis_{name}", documentation, labels, buckets=buckets, registry=registry)


requests = Counter("precis_requests", "Answered requests.", ["route", "status"], registry=registry)
request_duration = _histogram("request_duration_seconds", "Time to answer a request.", SECONDS, ("route",))
requests_in_flight = Gauge("precis_requests_in_flight", "Requests being answered.", registry=registry)
open_streams = Gauge("precis_streams_open", "Open streams of summaries.", registry=registry)
rejections = Counter("precis_rejections", "Requests without a summary, by reason.", ["reason"], registry=registry)
queue_wait = _histogram("queue_wait_seconds", "Time in the engine's queue.", SECONDS)
time_to_first_token = _histogram("time_to_first_token_seconds", "Time to the first token.", SECONDS)
time_per_output_token = _histogram("time_per_output_token_seconds", "Time per token after the first.", TOKEN_SECONDS)
admission_estimate_ratio = _histogram(
    "admission_estimate_ratio", "Seconds expected when a request was admitted, divided by those it took.", RATIOS
)
input_tokens = _histogram("input_tokens", "Tokens of a text.", INPUT_TOKENS)
output_tokens = _histogram("output_tokens", "Tokens of a summary.", OUTPUT_TOKENS)
long_texts = Counter(
    "precis_long_texts", "Texts longer than the model reads, by how they were handled.", ["action"], registry=registry
)
unsupported_spans = Counter(
    "precis_unsupported_spans", "Numbers and names of summaries that the text lacks.", ["kind"], registry=registry
)


class EngineCollector(Collector):
    """The engine's figures at the time of a scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stats = self._engine.stats()
        for name, documentation, value in (
            ("queue_tokens", "Tokens of waiting texts.", stats.waiting_tokens),
            ("queue_tokens_limit", "Waiting tokens above which requests are refused.", stats.max_waiting_tokens),
            ("queue_requests", "Waiting requests.", stats.waiting_requests),
            ("queue_drain_tokens_per_second", "Rate at which the queue is processed.", stats.tokens_per_second),
            (
                "rows_running",
                "Sequences being decoded, and texts whose sentences are being ranked.",
                stats.running_rows,
            ),
            ("rows", "Sequences that can be decoded at once.", stats.rows),
            ("cache_bytes", "Memory of the KV caches when all rows are full.", stats.cache_bytes),
        ):
            yield GaugeMetricFamily(f"precis_{name}", documentation, value)


def observe(summary: Summary, evidence: Evidence | None) -> None:
    """Counts one finished summary."""
    passed_through = summary.already_short or summary.unsupported_language
    if not passed_through:
        queue_wait.observe(summary.waiting_seconds)
        time_to_first_token.observe(summary.first_token_seconds)
        if summary.estimated_seconds is not None:
            admission_estimate_ratio.observe(summary.estimated_seconds / summary.seconds)
    if summary.output_tokens > 1 and not passed_through:
        time_per_output_token.observe((summary.seconds - summary.first_token_seconds) / (summary.output_tokens - 1))
    input_tokens.observe(summary.input_tokens)
    output_tokens.observe(summary.output_tokens)
    if summary.truncated_tokens:
        long_texts.labels("truncated").inc()
    if summary.chunks > 1:
        long_texts.labels("split").inc()
    for span in evidence.unsupported if evidence else ():
        unsupported_spans.labels(span.kind).inc()


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(registry)
