"""Encodes several texts side by side or one after another, whichever has been faster of late on this machine."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

REMEMBERED = 4  # measurements of each way, of which the best counts, since other work only ever adds
TRIED_EVERY = 32  # calls, of which one goes the slower way: what is faster may change

Encoded = list[np.ndarray]


class Readers:
    """Side by side nothing waits for the threads of one text to meet after each operator; one after another there is
    one text's memory to be held at a time. Which wins, by an eighth, is a matter of the processor (docs/log.md).

    Not thread-safe. The numbers are the same either way.
    """

    def __init__(self, encode: Callable[[list[int]], Encoded], threads: int) -> None:
        self._encode = encode
        self._ways = [map] if threads == 1 else [ThreadPoolExecutor(threads, "reader").map, map]
        self._seconds: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in self._ways]  # a token
        self._calls = 0

    def __call__(self, texts: list[list[int]]) -> list[Encoded | Exception]:
        """What `encode` gives of each text's tokens, or why it failed."""
        if len(texts) == 1:
            return [self._attempt(texts[0])]
        chosen = self._choose()
        began = time.perf_counter()
        outcomes = [*self._ways[chosen](self._attempt, texts)]
        self._seconds[chosen].append((time.perf_counter() - began) / sum(map(len, texts)))
        return outcomes

    def _attempt(self, ids: list[int]) -> Encoded | Exception:
        try:
            return self._encode(ids)
        except Exception as error:
            return error

    def _choose(self) -> int:
        """The way that is measured least, once each is known well enough the faster one, now and then the other."""
        self._calls += 1
        by_count = min(range(len(self._ways)), key=lambda way: len(self._seconds[way]))
        if len(self._seconds[by_count]) < REMEMBERED:
            return by_count
        by_speed = sorted(range(len(self._ways)), key=lambda way: min(self._seconds[way]))
        return by_speed[-1 if self._calls % TRIED_EVERY == 0 else 0]
