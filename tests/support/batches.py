"""A running batch that computes nothing, for tests of the scheduler: it counts steps and writes the same token."""

import math
import threading
import time
from types import SimpleNamespace

from precis.scheduling.ranking import RankingTurn
from precis.scheduling.sequence import Sequence


class CountingBatch:
    """Has the interface of RunningBatch. A ranking takes one step for each sentence.

    `now` is a clock that only the batch advances, so that no pause of the machine changes what the scheduler measures.
    `hold_at` makes it wait before a step, so that a test sees the scheduler in a state that lasts.
    """

    STEP_SECONDS, TOKEN_SECONDS = 1e-3, 1e-6  # of `now`: a decode step or a turn of a ranking, and a prefilled token

    def __init__(self, rows: int = 32) -> None:
        self.now = 1000.0
        self.steps = 0
        self._last_step = math.inf
        self._changed = threading.Condition()
        self.joined: list[Sequence] = []  # in order
        self._active: dict[Sequence, int] = {}
        self.last_ranking = RankingTurn({}, 0.0)
        self.kv_cache = SimpleNamespace(rows=rows, free_rows=rows, efficient_rows=10, max_prefill_tokens=1024)

    @property
    def sequences(self) -> list[Sequence]:
        return [*self._active]

    @property
    def rankings(self) -> int:
        return sum(sequence.is_ranking for sequence in self._active)

    @property
    def free_rows(self) -> int:
        return self.kv_cache.free_rows

    @property
    def running_rows(self) -> int:
        return self.kv_cache.rows - self.kv_cache.free_rows

    def admit(self, sequences: list[Sequence]) -> dict[Sequence, Exception]:
        for sequence in sequences:
            self.joined.append(sequence)
            self._active[sequence] = 0
            self.kv_cache.free_rows -= sequence.rows
            self.now += self.TOKEN_SECONDS * sequence.tokens
        return {}

    def hold_at(self, step: float) -> None:
        """Runs no further step after that one, until this is called again."""
        with self._changed:
            self._last_step = step
            self._changed.notify_all()

    def wait_for_step(self, step: int) -> None:
        """Waits until that step has been run."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.steps >= step, 60)

    def step(self) -> list[Sequence]:
        with self._changed:
            self._changed.wait_for(lambda: self.steps < self._last_step)
            self.steps += 1
            self._changed.notify_all()
        time.sleep(0.001)  # lets the test's thread run
        if any(not item.is_ranking for item in self._active):
            self.now += self.STEP_SECONDS
        ready = [item for item in self._active if item.is_ranking and item.priority() is not None]
        ranking = min(ready, key=lambda item: item.priority(), default=None)
        self.last_ranking = RankingTurn({ranking: 30} if ranking else {}, self.STEP_SECONDS if ranking else 0.0)
        self.now += self.last_ranking.seconds
        finished = []
        for sequence in [*self._active]:
            if sequence.is_ranking and sequence is not ranking and not sequence.is_cancelled():
                continue
            self._active[sequence] += 1
            steps = len(sequence.sentences) or sequence.params.max_new_tokens
            if self._active[sequence] >= steps and not sequence.is_cancelled():
                sequence.token_ids = [5] * (0 if sequence.is_ranking else steps)
                sequence.scores = [-1.0] * len(sequence.sentences)
                sequence.finish_reason, sequence.first_token_at = "end", self.now
            if sequence.finish_reason or sequence.is_cancelled():
                del self._active[sequence]
                self.kv_cache.free_rows += sequence.rows
                finished.append(sequence)
        return finished

    def clear(self) -> list[Sequence]:
        sequences = self.sequences
        self._active.clear()
        self.kv_cache.free_rows = self.kv_cache.rows
        return sequences

    def compact_if_sparse(self) -> None:
        pass

    def release_unused_memory(self) -> None:
        pass
