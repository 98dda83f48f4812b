"""Encodes several texts side by side or one after another, whichever has been faster of late on this machine."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

REMEMBERED = 4  # measurements of each way, of which the best counts, since other work only ever adds
TRIED_EVERY = 32  # calls, of which one goes the slower way: what is faster may change

Encoded = list[np.ndarray]
Encode = Callable[[list[int]], Encoded]


class EncoderPool:
    """Side by side nothing waits for the threads of one text to meet after each operator; one after another there is
    one text's memory to be held at a time. Which wins, by an eighth, is a matter of the processor (docs/log.md).

    Not thread-safe. The numbers are the same either way.
    """

    def __init__(self, alone: Encode, beside: Encode, threads: int) -> None:
        """`alone` encodes a text by itself, `beside` one while others are encoded; both give the same numbers."""
        self._alone = alone
        self._ways = [(map, alone)]
        if threads > 1:
            self._ways.insert(0, (ThreadPoolExecutor(threads, "reader").map, beside))
        self._seconds: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in self._ways]  # a token
        self._calls = 0

    def __call__(self, texts: list[list[int]]) -> list[Encoded | Exception]:
        """What either way gives of each text's tokens, or why it failed."""
        if len(texts) == 1:
            return [_attempt(self._alone, texts[0])]
        chosen = self._choose()
        began = time.perf_counter()
        over, encode = self._ways[chosen]
        outcomes = [*over(partial(_attempt, encode), texts)]
        self._seconds[chosen].append((time.perf_counter() - began) / sum(map(len, texts)))
        return outcomes

    def _choose(self) -> int:
        """The way that is measured least, once each is known well enough the faster one, now and then the other."""
        self._calls += 1
        by_count = min(range(len(self._ways)), key=lambda way: len(self._seconds[way]))
        if len(self._seconds[by_count]) < REMEMBERED:
            return by_count
        by_speed = sorted(range(len(self._ways)), key=lambda way: min(self._seconds[way]))
        return by_speed[-1 if self._calls % TRIED_EVERY == 0 else 0]


def _attempt(encode: Encode, ids: list[int]) -> Encoded | Exception:
    try:
        return encode(ids)
    except Exception as error:
        return error
