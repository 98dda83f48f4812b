"""Prometheus metrics, all with labels of few known values; a server has one worker, so its own memory holds them."""

import os

# BentoML sets this for servers of several workers: values would go to files, which two servers wipe for each other.
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

from precis import Engine, Summary
from precis.grounding.evidence import Evidence

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
STEPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
TOKENS = tuple(2**power for power in range(4, 18))

disable_created_metrics()
registry = CollectorRegistry()
ProcessCollector(registry=registry)
requests = Counter("precis_requests", "Answered requests.", ["route", "status"], registry=registry)
latency = Histogram("precis_request_seconds", "Whole time of a request.", ["route"], buckets=SECONDS, registry=registry)
in_flight = Gauge("precis_requests_in_flight", "Requests being answered.", registry=registry)
streams = Gauge("precis_streams_open", "Open streams of summaries.", registry=registry)
rejections = Counter("precis_rejections", "Requests that were not done, by reason.", ["reason"], registry=registry)
waiting = Histogram("precis_wait_seconds", "Time in the queue.", buckets=SECONDS, registry=registry)
first_token = Histogram("precis_first_token_seconds", "Time to the first token.", buckets=SECONDS, registry=registry)
token = Histogram("precis_token_seconds", "Time a token after the first.", buckets=STEPS, registry=registry)
input_tokens = Histogram("precis_input_tokens", "Tokens of a text.", buckets=TOKENS, registry=registry)
output_tokens = Histogram("precis_output_tokens", "Tokens of a summary.", buckets=TOKENS[:6], registry=registry)
long_texts = Counter(
    "precis_long_texts", "Texts longer than the model reads, by what was done.", ["done"], registry=registry
)
unsupported = Counter(
    "precis_unsupported", "Numbers and names in summaries that the text lacks.", ["kind"], registry=registry
)


class EngineCollector:
    """The engine's own figures at the moment of asking."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stats = self._engine.stats()
        for name, text, value in (
            ("queue_tokens", "Tokens of waiting texts.", stats.waiting_tokens),
            ("queue_tokens_limit", "Past so many waiting tokens requests are refused.", stats.max_waiting_tokens),
            ("queue_requests", "Waiting requests.", stats.waiting_requests),
            ("queue_drain_tokens_per_second", "How fast the queue is read.", stats.tokens_per_second),
            ("rows_running", "Sequences being decoded.", stats.running_rows),
            ("rows", "Sequences that can be decoded at once.", stats.rows),
            ("cache_bytes", "Memory of all rows' caches when they are full.", stats.cache_bytes),
        ):
            yield GaugeMetricFamily(f"precis_{name}", text, value)


def observe(summary: Summary, evidence: Evidence | None) -> None:
    """Counts one finished summary."""
    waiting.observe(summary.waiting_seconds)
    first_token.observe(summary.first_token_seconds)
    if summary.output_tokens > 1:
        token.observe((summary.seconds - summary.first_token_seconds) / (summary.output_tokens - 1))
    input_tokens.observe(summary.input_tokens)
    output_tokens.observe(summary.output_tokens)
    if summary.truncated_tokens:
        long_texts.labels("truncated").inc()
    if summary.chunks > 1:
        long_texts.labels("split").inc()
    for span in evidence.unsupported if evidence else ():
        unsupported.labels(span.kind).inc()


def exposition() -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(registry)
