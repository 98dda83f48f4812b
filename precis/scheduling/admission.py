"""The admission policy: whether a new request is queued, or refused at once because it could not be finished in time.

Work is measured in tokens that wait, which bound memory, and in estimated seconds, which have to fit the request's time
limit. One caller gets a share of both, so that it cannot keep the others out.
"""

from dataclasses import dataclass

CALLER_SHARE = 0.5  # of the queue and of the time limit, for one caller
MIN_JUDGED_SECONDS = 10.0  # a shorter time limit ends the request before it has cost much
IMPOSSIBLE = 1.5  # times the time limit: an estimate is not that wrong


@dataclass(frozen=True)
class Backlog:
    """Work that is not finished: `tokens` that wait, and the `seconds` in which all of it is expected to be done."""

    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Newcomer:
    """A new request: the seconds that it is expected to take alone, and the seconds until its deadline."""

    seconds: float
    seconds_left: float

    @property
    def is_judged(self) -> bool:
        """Whether it has a deadline that an estimate can be compared with."""
        return MIN_JUDGED_SECONDS <= self.seconds_left < float("inf")

    @property
    def is_possible(self) -> bool:
        """Whether it could be finished in time if nothing else had to be done."""
        return not self.is_judged or self.seconds <= IMPOSSIBLE * self.seconds_left


def seconds_until_admitted(
    newcomer: Newcomer, everyone: Backlog, caller: Backlog | None, max_tokens: int
) -> float | None:
    """None if `newcomer` is admitted; else after how many seconds it should be, at most its time limit.

    `caller` is the part of `everyone` that comes from the newcomer's caller, None where callers are not told apart.
    A newcomer's own tokens are not counted, because a queue that is almost full would refuse long texts for ever; a
    long text enters the queue part by part.
    """
    limits = [(everyone, 1.0)] if caller is None else [(everyone, 1.0), (caller, CALLER_SHARE)]
    waits = []
    for backlog, share in limits:
        tokens_over = backlog.tokens - share * max_tokens
        if tokens_over > 0:
            waits.append(tokens_over / backlog.tokens * backlog.seconds)
        seconds_over = backlog.seconds + newcomer.seconds - share * newcomer.seconds_left
        if newcomer.is_judged and backlog.seconds and seconds_over > 0:
            waits.append(min(seconds_over, backlog.seconds))
    return min(max(1.0, *waits), max(1.0, newcomer.seconds_left)) if waits else None
