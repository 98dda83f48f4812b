"""What an engine is doing at this moment, in figures for operators."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """`rows` sequences can be decoded at once (a beam is one), `running_rows` are.

    `waiting_requests` have a text in the queue, with `waiting_tokens`; past `max_waiting_tokens` new ones are refused.
    `tokens_per_second` is the rate at which the queue is read, averaged over some seconds of work. `cache_bytes` is the
    memory of all rows when they are full.
    """

    rows: int
    running_rows: int
    waiting_requests: int
    waiting_tokens: int
    max_waiting_tokens: int
    tokens_per_second: float
    cache_bytes: int
