"""Threads for work on long texts, which would hold up an event loop."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from precis.errors import DeadlineExceeded

SHORT_ASCII = 4_000  # characters of ASCII; tokenizing or comparing them takes a few milliseconds
SHORT = 250  # characters of other text, each of which can be dozens of tokens
LONGEST = 100_000  # characters; longer texts have a thread of their own

Result = TypeVar("Result")
Check = Callable[[], None]


class TextWorkers:
    """Two threads: one text of moderate length and one of the longest are worked on at a time, and others wait."""

    def __init__(self) -> None:
        self._moderate = ThreadPoolExecutor(1, thread_name_prefix="precis-text")
        self._longest = ThreadPoolExecutor(1, thread_name_prefix="precis-long-text")

    async def run(self, text: str, deadline: float | None, work: Callable[[Check], Result]) -> Result:
        """The result of `work`, which is done at once if `text` is short.

        `work` should call its argument often: it raises DeadlineExceeded once `deadline` (of `time.monotonic()`) has
        passed or the caller has been cancelled. Raises DeadlineExceeded in time even if `work` does not call it.
        """
        abandoned = threading.Event()

        def check() -> None:
            if abandoned.is_set() or (deadline is not None and time.monotonic() >= deadline):
                raise DeadlineExceeded("The summary was not ready in time.")

        check()
        if len(text) <= (SHORT_ASCII if text.isascii() else SHORT):
            return work(check)
        threads = self._longest if len(text) > LONGEST else self._moderate
        future = asyncio.get_running_loop().run_in_executor(threads, work, check)
        try:
            return await asyncio.wait_for(future, None if deadline is None else deadline - time.monotonic())
        except TimeoutError:
            raise DeadlineExceeded("The summary was not ready in time.") from None
        finally:
            abandoned.set()

    def close(self) -> None:
        """Ends the threads after what they are doing."""
        for threads in (self._moderate, self._longest):
            threads.shutdown(wait=False, cancel_futures=True)
