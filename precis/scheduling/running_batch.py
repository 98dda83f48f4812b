"""Continuous batching: sequences join and leave the running batch between two steps of the decoder."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from precis.decoding.prompt_lookup import PromptLookup
from precis.decoding.search import Beam, Greedy, new_search
from precis.params import ResolvedParams
from precis.runtime.kv_cache import MAX_STEPS, Prefill
from precis.runtime.kv_cache_cuda import new_kv_cache
from precis.runtime.model import Seq2SeqModel


@dataclass(eq=False)
class Sequence:
    """One piece of text to decode. `grown` hears the tokens so far after each step; `gone` tells that nobody waits."""

    ids: list[int]
    settings: ResolvedParams
    gone: Callable[[], bool]
    grown: Callable[[list[int]], None] | None = None
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = ""
    first_token: float | None = None  # time.monotonic() when it was there


@dataclass(eq=False)
class _ActiveSequence:
    """A job in the batch: its search, and its rows, one a beam."""

    job: Sequence
    search: Greedy | Beam
    rows: np.ndarray
    fed: np.ndarray  # the token each row reads next
    lookup: PromptLookup | None


class RunningBatch:
    """Owns the slots. Not thread-safe: one thread admits and steps."""

    def __init__(self, model: Seq2SeqModel, rows: int, source_tokens: int) -> None:
        self._model = model
        self._slots = new_kv_cache(model, rows, source_tokens, repeated=True)
        self._running: list[_ActiveSequence] = []

    @property
    def running(self) -> list[Sequence]:
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
        return self._slots.budget

    def has_room(self, *jobs: Sequence) -> bool:
        """Whether there are rows for the beams of all the jobs."""
        return self._slots.free_rows >= _beams(jobs)

    def is_crowd(self, *jobs: Sequence) -> bool:
        """Whether the batch would gain little by the last of the jobs, the others having joined."""
        return self.running_rows + _beams(jobs[:-1]) >= self._slots.crowd

    def admit(self, *jobs: Sequence) -> dict[Sequence, Exception]:
        """Encodes the jobs' texts and gives them their rows, for which there has to be room.

        Returns the jobs that failed and why.
        """
        if not jobs:
            return {}
        failed = {}
        taken = [self._slots.take(job.settings.num_beams) for job in jobs]
        starts = [Prefill(rows, job.ids, job.settings.max_new_tokens) for job, rows in zip(jobs, taken, strict=True)]
        for job, rows, error in zip(jobs, taken, self._slots.start(starts), strict=True):
            if error is not None:
                failed[job] = error
                self._slots.free(rows)
                continue
            search = new_search(job.settings)
            lookup = PromptLookup(job.ids) if isinstance(search, Greedy) and self._slots.max_steps > 1 else None
            fed = np.full(len(rows), job.settings.start)
            self._running.append(_ActiveSequence(job, search, rows, fed, lookup))
        return failed

    def step(self) -> list[Sequence]:
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

    def drop_all(self) -> list[Sequence]:
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
        logits = slots.step(tokens)
        for sequence in self._running:
            rows, search = sequence.rows, sequence.search
            slots.past_length[rows] += 1
            if slots.best is not None and search.accepts_argmax:
                sequence.fed, parents = search.take(int(slots.best[rows[0]]))
            else:
                sequence.fed, parents = search.advance(logits[rows, 0] if len(rows) > 1 else logits[rows[0]])
            if len(rows) > 1:
                slots.reorder(rows, rows[parents])

    def _step_alone(self, sequence: _ActiveSequence) -> None:
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

    def _leave(self, sequences: list[_ActiveSequence]) -> None:
        for sequence in sequences:
            self._slots.free(sequence.rows)
            self._running.remove(sequence)

    def _compact(self) -> None:
        moves = self._slots.compact()
        if moves:
            for sequence in self._running:
                sequence.rows = np.array([moves.get(int(row), int(row)) for row in sequence.rows])


def _beams(jobs: tuple[Sequence, ...]) -> int:
    return sum(job.settings.num_beams for job in jobs)
