"""Keeps an engine busy with windows of rows: sorted by length inside, finished in order, a bounded number in flight.

Rows that are decoded together should be of similar length. Every second window is sorted in descending order, so that
lengths match where two windows meet, and a window starts while the last rows of the previous one are being decoded.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue

from precis import Engine, EngineClosed, EngineError, EngineFull, GenerationParams, Summary, TextError
from precis.bulk.errors import BulkError
from precis.bulk.formats import Answer
from precis.bulk.job import BulkJob, Checkpoint, Part, Window
from precis.grounding.assessment import assess, fallback_params
from precis.params import TrustParams

MAX_WINDOWS = 3  # held at once
MAX_IN_FLIGHT = 256  # rows submitted to the engine: several times what it decodes at once
MAX_FAILURES = 64  # consecutive rows on which the engine fails: the cause is not a row then


def process(job: BulkJob, start: Checkpoint, report: Callable[[int, float], None]) -> Iterator[Part]:
    """The job's parts after `start`, in order, made by one engine on this machine. Raises EngineError.

    `report` is called with a number of finished rows and the bytes that were read for them.
    """
    with contextlib.closing(job.load_engine()) as engine:
        feeder = Feeder(engine, job.generation, job.trust, lambda window: report(1, window.size / len(window.rows)))
        yield from map(job.part, feeder.run(job.windows(start)))


class Feeder:
    """Submits the rows of windows to `engine`. `on_done` is called with the window of each row that has an outcome."""

    def __init__(
        self,
        engine: Engine,
        generation: GenerationParams,
        trust: TrustParams,
        on_done: Callable[[Window], None] = lambda _: None,
    ) -> None:
        self._engine, self._generation, self._trust, self._on_done = engine, generation, trust, on_done
        self._results: SimpleQueue[tuple[Future[Summary], _Task]] = SimpleQueue()
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
                    self._submit(_Task(window, index, self._generation))
                else:
                    self._on_done(window)
            while len(held) >= MAX_WINDOWS and held[0].pending:
                self._receive()
            yield from _finished(held)
        while held:
            while held[0].pending:
                self._receive()
            yield held.popleft()

    def _submit(self, task: "_Task") -> None:
        while True:
            try:
                future = self._engine.submit(task.text, task.generation)
            except EngineFull:
                if self._in_flight:
                    self._receive()
                else:  # another caller fills the queue
                    time.sleep(0.1)
            except TextError as error:
                self._settle(task, str(error))
                return
            else:
                self._in_flight += 1
                future.add_done_callback(lambda future: self._results.put((future, task)))
                return

    def _receive(self) -> None:
        """Waits for one summary. A failed row is tried once more: a row in the same batch may have been the cause."""
        future, task = self._results.get()
        self._in_flight -= 1
        try:
            summary = future.result()
        except EngineClosed:
            raise
        except EngineError as error:
            if not task.is_retry:
                self._submit(replace(task, is_retry=True))
                return
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                reason = f"The engine failed on {MAX_FAILURES} rows in a row. The last reason: {error}"
                raise BulkError(reason) from error
            self._settle(task, str(error))
        else:
            self._failures = 0
            self._answer(task, summary)

    def _answer(self, task: "_Task", summary: Summary) -> None:
        """Settles the row with its summary, or does what the run asks for with one below the least trust."""
        certificate = self._engine.certificate(task.generation)
        assessment = assess(task.text, summary, certificate, self._trust.evidence)
        below_trust = not task.below_trust and assessment.is_below(self._trust.min_trust)
        if below_trust and self._trust.below_trust == "refuse":
            self._settle(task, assessment.reason(self._trust.min_trust))
        elif below_trust and summary.extracted is None:
            fallback = fallback_params(task.generation)
            self._submit(replace(task, generation=fallback, is_retry=False, below_trust=True))
        else:
            self._settle(task, Answer(summary, assessment, below_trust or task.below_trust))

    def _settle(self, task: "_Task", outcome: Answer | str) -> None:
        task.window.outcomes[task.index] = outcome
        task.window.pending -= 1
        self._on_done(task.window)


@dataclass(frozen=True, eq=False)
class _Task:
    """A row of a window that the engine summarizes; `below_trust` says that a summary of it had too little trust."""

    window: Window
    index: int
    generation: GenerationParams
    is_retry: bool = False
    below_trust: bool = False

    @property
    def text(self) -> str:
        """The row's document."""
        return self.window.rows[self.index].document


def _finished(held: deque[Window]) -> Iterator[Window]:
    """Removes and yields the finished windows at the head of `held`."""
    while held and not held[0].pending:
        yield held.popleft()
