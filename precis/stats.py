"""A snapshot of an engine's load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """What is running and waiting, and the capacities.

    Attributes:
        rows: rows of the KV cache, each of which holds one beam.
        running_rows: rows in use, and rankings, which take none but the time of some.
        waiting_requests: requests with at least one sequence in the queue.
        waiting_tokens: tokens in the queue.
        max_waiting_tokens: while more tokens than this wait, new requests are refused. Of a long text, a part counts.
        tokens_per_second: how fast waiting tokens are admitted, averaged over some seconds of work.
        cache_bytes: memory of all rows when they are full.
    """

    rows: int
    running_rows: int
    waiting_requests: int
    waiting_tokens: int
    max_waiting_tokens: int
    tokens_per_second: float
    cache_bytes: int
