"""Continuous batching: sequences join and leave the running batch between two steps of the decoder."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from engine.generation import Settings
from engine.lookup import Lookup
from engine.model import Seq2SeqModel
from engine.search import Beam, Greedy, new_search
from engine.slots import MAX_STEPS, Slots

ENCODED_TOKENS = 512  # a thread; read between two steps at most, so that what runs does not wait for what comes


@dataclass(eq=False)
class Job:
    """One piece of text to decode. `grown` hears the tokens so far after each step; `gone` tells that nobody waits."""

    ids: list[int]
    settings: Settings
    gone: Callable[[], bool]
    grown: Callable[[list[int]], None] | None = None
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = ""
    first_token: float | None = None  # time.monotonic() when it was there


@dataclass(eq=False)
class _Sequence:
    """A job in the batch: its search, and its rows, one a beam."""

    job: Job
    search: Greedy | Beam
    rows: np.ndarray
    fed: np.ndarray  # the token each row reads next
    lookup: Lookup | None


class Scheduler:
    """Owns the slots. Not thread-safe: one thread admits and steps."""

    def __init__(self, model: Seq2SeqModel, rows: int, source_tokens: int) -> None:
        self._model = model
        self._slots = Slots(model, rows, source_tokens)
        self._running: list[_Sequence] = []
        self._readers = ThreadPoolExecutor(model.readers, "reader")

    @property
    def running(self) -> list[Job]:
        return [sequence.job for sequence in self._running]

    @property
    def rows(self) -> int:
        return self._slots.rows

    @property
    def running_rows(self) -> int:
        return self._slots.rows - self._slots.free_rows

    @property
    def budget(self) -> int:
        """Tokens to be admitted between two steps at most."""
        return ENCODED_TOKENS * self._model.readers

    def has_room(self, *jobs: Job) -> bool:
        """Whether there are rows for the beams of all the jobs."""
        return self._slots.free_rows >= sum(job.settings.num_beams for job in jobs)

    def admit(self, *jobs: Job) -> dict[Job, Exception]:
        """Encodes the jobs' texts and gives them their rows, for which there has to be room.

        Returns the jobs that failed and why. Texts are read side by side, each by one thread as far as there are
        enough: nothing waits for the threads of one text to meet after each operator.
        """
        failed = {}
        for job, outcome in zip(jobs, self._read(jobs), strict=True):
            if isinstance(outcome, Exception):
                failed[job] = outcome
                continue
            rows = self._slots.take(job.settings.num_beams)
            self._slots.fill(rows, outcome)
            search = new_search(job.settings)
            lookup = Lookup(job.ids) if isinstance(search, Greedy) else None
            fed = np.full(len(rows), job.settings.start)
            self._running.append(_Sequence(job, search, rows, fed, lookup))
        return failed

    def _read(self, jobs: tuple[Job, ...]) -> list[list[np.ndarray] | Exception]:
        def read(job: Job) -> list[np.ndarray] | Exception:
            try:
                return self._model.encode(job.ids)
            except Exception as error:
                return error

        return [read(job) for job in jobs] if len(jobs) == 1 else [*self._readers.map(read, jobs)]

    def step(self) -> list[Job]:
        """One step of all sequences; returns the jobs that left: done, or gone and without a finish_reason."""
        gone = [sequence for sequence in self._running if sequence.job.gone()]
        self._leave(gone)
        if not self._running:
            return [sequence.job for sequence in gone]
        if len(self._running) == 1 and self._running[0].lookup:
            self._compact()
            self._step_alone(self._running[0])
        else:
            self._step_together()
        now = time.monotonic()
        for sequence in self._running:
            sequence.job.first_token = sequence.job.first_token or now
        done = [sequence for sequence in self._running if sequence.search.finished]
        for sequence in done:
            sequence.job.tokens = sequence.search.tokens()
            sequence.job.finish_reason = sequence.search.finish_reason
        self._leave(done)
        for sequence in self._running:
            if sequence.job.grown is not None:
                sequence.job.grown(sequence.search.tokens())
        return [sequence.job for sequence in gone + done]

    def drop_all(self) -> list[Job]:
        """Empties the batch and returns whose jobs those were."""
        jobs = self.running
        self._running.clear()
        self._slots.free_all()
        return jobs

    def tidy(self) -> None:
        """Closes gaps that nobody is waiting to fill, once a quarter of the rows would run for nothing."""
        if self._slots.gaps() > self._slots.height // 4:
            self._compact()

    def _step_together(self) -> None:
        slots = self._slots
        tokens = np.zeros((slots.height, 1), dtype=np.int64)
        for sequence in self._running:
            tokens[sequence.rows, 0] = sequence.fed
        logits = slots.step(tokens)[:, 0]
        for sequence in self._running:
            rows = sequence.rows
            slots.past_length[rows] += 1
            sequence.fed, parents = sequence.search.advance(logits[rows] if len(rows) > 1 else logits[rows[0], None])
            if len(rows) > 1:
                slots.reorder(rows, rows[parents])

    def _step_alone(self, sequence: _Sequence) -> None:
        """A sequence by itself reads its next token and a guess at those that follow; what the guess got right is kept.

        Each token is still the search's own choice after the tokens before it, so the summary is the same.
        """
        search, slots = sequence.search, self._slots
        room = min(MAX_STEPS - 1, search.settings.max_new_tokens - len(search.sequence))
        draft = sequence.lookup.draft(search.sequence, room)
        logits = slots.step(np.array([[*sequence.fed, *draft]]))
        for place, guess in enumerate([*draft, None]):
            sequence.fed, _ = search.advance(logits[:, place])
            slots.past_length[0] += 1
            if search.finished or sequence.fed[0] != guess:
                break

    def _leave(self, sequences: list[_Sequence]) -> None:
        for sequence in sequences:
            self._slots.free(sequence.rows)
            self._running.remove(sequence)

    def _compact(self) -> None:
        moves = self._slots.compact()
        if moves:
            for sequence in self._running:
                sequence.rows = np.array([moves.get(int(row), int(row)) for row in sequence.rows])
