"""Keeps an engine busy with windows of rows: sorted by length inside, finished in order, a bounded number in flight.

Rows that are decoded together should be of similar length. Every second window is sorted in descending order, so that
lengths match where two windows meet, and a window starts while the last rows of the previous one are being decoded.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from precis import Engine, EngineClosed, EngineError, EngineFull, GenerationParams, Summary, TextError
from precis.bulk.errors import BulkError
from precis.bulk.job import BulkJob, Checkpoint, Part, Window

MAX_WINDOWS = 3  # held at once
MAX_IN_FLIGHT = 256  # rows submitted to the engine: several times what it decodes at once
MAX_FAILURES = 64  # consecutive rows on which the engine fails: the cause is not a row then


def process(job: BulkJob, start: Checkpoint, report: Callable[[int, float], None]) -> Iterator[Part]:
    """The job's parts after `start`, in order, made by one engine on this machine. Raises EngineError.

    `report` is called with a number of finished rows and the bytes that were read for them.
    """
    with contextlib.closing(job.load_engine()) as engine:
        feeder = Feeder(engine, job.generation, lambda window: report(1, window.size / len(window.rows)))
        yield from map(job.part, feeder.run(job.windows(start)))


class Feeder:
    """Submits the rows of windows to `engine`. `on_done` is called with the window of each row that has an outcome."""

    def __init__(
        self, engine: Engine, generation: GenerationParams, on_done: Callable[[Window], None] = lambda _: None
    ) -> None:
        self._engine, self._generation, self._on_done = engine, generation, on_done
        self._answers: SimpleQueue[tuple[Future[Summary], Window, int, bool]] = SimpleQueue()
        self._in_flight = 0
        self._failures = 0  # consecutive

    def run(self, windows: Iterable[Window]) -> Iterator[Window]:
        """Yields the windows in order, each with all outcomes. Raises BulkError if the engine fails on every row."""
        held: deque[Window] = deque()
        for number, window in enumerate(windows):
            held.append(window)
            lengths = [len(row.document) for row in window.rows]
            order = sorted(range(len(lengths)), key=lengths.__getitem__)
            for index in order[:: -1 if number % 2 else 1]:
                while self._in_flight >= MAX_IN_FLIGHT:
                    self._receive()
                    yield from _finished(held)
                if window.outcomes[index] is None:
                    self._submit(window, index)
                else:
                    self._on_done(window)
            while len(held) >= MAX_WINDOWS and held[0].pending:
                self._receive()
            yield from _finished(held)
        while held:
            while held[0].pending:
                self._receive()
            yield held.popleft()

    def _submit(self, window: Window, index: int, retry: bool = False) -> None:
        while True:
            try:
                future = self._engine.submit(window.rows[index].document, self._generation)
            except EngineFull:
                if self._in_flight:
                    self._receive()
                else:  # another caller fills the queue
                    time.sleep(0.1)
            except TextError as error:
                self._settle(window, index, str(error))
                return
            else:
                self._in_flight += 1
                future.add_done_callback(lambda future: self._answers.put((future, window, index, retry)))
                return

    def _receive(self) -> None:
        """Waits for one answer. A failed row is tried once more: a row in the same batch may have been the cause."""
        future, window, index, retry = self._answers.get()
        self._in_flight -= 1
        try:
            outcome: Summary | str = future.result()
        except EngineClosed:
            raise
        except EngineError as error:
            if not retry:
                self._submit(window, index, retry=True)
                return
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                reason = f"The engine failed on {MAX_FAILURES} rows in a row. The last reason: {error}"
                raise BulkError(reason) from error
            outcome = str(error)
        else:
            self._failures = 0
        self._settle(window, index, outcome)

    def _settle(self, window: Window, index: int, outcome: Summary | str) -> None:
        window.outcomes[index] = outcome
        window.pending -= 1
        self._on_done(window)


def _finished(held: deque[Window]) -> Iterator[Window]:
    """Removes and yields the finished windows at the head of `held`."""
    while held and not held[0].pending:
        yield held.popleft()
