"""Encodes several texts in parallel or one after another, whichever was measured to be faster on this machine."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

import numpy.typing as npt

MEASUREMENTS = 4  # kept of each strategy; the best one counts, because other load only ever adds time
EXPLORE_EVERY = 32  # calls, of which one uses the slower strategy, because the faster one may change

Encoded = list[npt.NDArray[Any]]
Result = TypeVar("Result")  # of the encoder for one text


class EncoderPool(Generic[Result]):
    """Chooses between encoding in parallel and in sequence by the time each took.

    In parallel the threads of one text do not wait for each other after every operator; in sequence the memory of one
    text's activations is in use at a time. Which one is faster, by an eighth, depends on the processor
    (docs/log.md#encoder-pool). The results are the same. Not thread-safe.
    """

    def __init__(
        self, encode: Callable[[list[int]], Result], encode_in_parallel: Callable[[list[int]], Result], threads: int
    ) -> None:
        """Both functions give the same results; `encode_in_parallel` is called from `threads` threads at once."""
        self._encode = encode
        self._strategies: list[tuple[Callable[..., Iterable[Result | Exception]], Callable[[list[int]], Result]]] = [
            (map, encode)
        ]
        if threads > 1:
            pool = ThreadPoolExecutor(threads, "precis-encoder")
            self._strategies.insert(0, (pool.map, encode_in_parallel))
        self._seconds: list[deque[float]] = [deque(maxlen=MEASUREMENTS) for _ in self._strategies]  # a token
        self._calls = 0

    def __call__(self, texts: list[list[int]]) -> list[Result | Exception]:
        """The encoder's outputs for each text's tokens, or the exception that its encoding raised."""
        if len(texts) == 1:
            return [_attempt(self._encode, texts[0])]
        strategy = self._choose_strategy()
        run, encode = self._strategies[strategy]
        start = time.perf_counter()
        results = [*run(partial(_attempt, encode), texts)]
        self._seconds[strategy].append((time.perf_counter() - start) / sum(map(len, texts)))
        return results

    def _choose_strategy(self) -> int:
        """The index of the least measured strategy until all are measured, then of the faster, sometimes the other."""
        self._calls += 1
        strategies = range(len(self._strategies))
        least_measured = min(strategies, key=lambda strategy: len(self._seconds[strategy]))
        if len(self._seconds[least_measured]) < MEASUREMENTS:
            return least_measured
        by_speed = sorted(strategies, key=lambda strategy: min(self._seconds[strategy]))
        return by_speed[-1 if self._calls % EXPLORE_EVERY == 0 else 0]


def _attempt(encode: Callable[[list[int]], Result], input_ids: list[int]) -> Result | Exception:
    try:
        return encode(input_ids)
    except Exception as error:
        return error
