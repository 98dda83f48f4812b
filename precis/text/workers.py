"""Threads for work on long texts, which would hold up an event loop."""

import asyncio
import functools
import random
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from precis.errors import DeadlineExceeded

SHORT_ASCII = 4_000  # characters of ASCII; tokenizing or comparing them takes a few milliseconds
SHORT = 250  # characters of other text, each of which can be dozens of tokens
LONGEST = 100_000  # characters once normalized; longer texts have a thread of their own
SAMPLE = 64  # characters of a text, by which the length of the normalized text is estimated

Result = TypeVar("Result")
Check = Callable[[], None]


class TextWorkers:
    """Two threads: one text of moderate length and one of the longest are worked on at a time, and others wait.

    Callers take turns, so that one with many texts delays another by one of them.
    """

    def __init__(self) -> None:
        self._moderate = FairThread("precis-text")
        self._longest = FairThread("precis-long-text")

    async def run(
        self, text: str, deadline: float | None, work: Callable[[Check], Result], caller: str | None = None
    ) -> Result:
        """The result of `work`, which is done at once if `text` is short. `caller` names who has sent the text.

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
        thread = self._longest if _normalized_length(text) > LONGEST else self._moderate
        future = asyncio.wrap_future(thread.submit(caller, functools.partial(work, check)))
        try:
            # wait_for of Python 3.11 ignores being cancelled in the moment in which the result comes.
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                return await future
        except TimeoutError:
            raise DeadlineExceeded("The summary was not ready in time.") from None
        finally:
            abandoned.set()

    def close(self) -> None:
        """Ends the threads after what they are doing."""
        for thread in (self._moderate, self._longest):
            thread.close()


class FairThread:
    """One thread that does a piece of work of each caller in turn (round robin)."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: dict[str | None, deque[tuple[Future[Any], Callable[[], Any]]]] = {}  # in the order of turns

    def submit(self, caller: str | None, work: Callable[[], Result]) -> Future[Result]:
        """The future of `work`, which is not begun if the future is cancelled before its turn."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.setdefault(caller, deque()).append((future, work))
        self._executor.submit(self._do_next)
        return future

    def close(self) -> None:
        """Cancels what has not begun."""
        with self._lock:
            for works in self._waiting.values():
                for future, _ in works:
                    future.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _do_next(self) -> None:
        with self._lock:
            caller = next(iter(self._waiting))
            works = self._waiting.pop(caller)
            future, work = works.popleft()
            if works:
                self._waiting[caller] = works  # behind the other callers
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)


def _normalized_length(text: str) -> float:
    """About how many characters `text` has once it is normalized: one character can become 18 (U+FDFA)."""
    if text.isascii():
        return len(text)
    sample = "".join(random.choices(text, k=SAMPLE))
    return len(text) * len(unicodedata.normalize("NFKC", sample)) / SAMPLE
