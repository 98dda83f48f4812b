"""A running batch that computes nothing, for tests of the scheduler: it counts steps and writes the same token."""

import time
from types import SimpleNamespace

from precis.scheduling.ranking import RankingTurn
from precis.scheduling.sequence import Sequence


class CountingBatch:
    """Has the interface of RunningBatch. A step takes `step_seconds`, and a ranking one step for each sentence."""

    def __init__(self, rows: int = 32, step_seconds: float = 0.001) -> None:
        self.step_seconds = step_seconds
        self.steps = 0
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
        return {}

    def step(self) -> list[Sequence]:
        self.steps += 1
        time.sleep(self.step_seconds)
        ready = [item for item in self._active if item.is_ranking and item.priority() is not None]
        ranking = min(ready, key=lambda item: item.priority(), default=None)
        self.last_ranking = RankingTurn({ranking: 30} if ranking else {}, self.step_seconds)
        finished = []
        for sequence in [*self._active]:
            if sequence.is_ranking and sequence is not ranking and not sequence.is_cancelled():
                continue
            self._active[sequence] += 1
            steps = len(sequence.sentences) or sequence.params.max_new_tokens
            if self._active[sequence] >= steps and not sequence.is_cancelled():
                sequence.token_ids = [5] * (0 if sequence.is_ranking else steps)
                sequence.scores = [-1.0] * len(sequence.sentences)
                sequence.finish_reason, sequence.first_token_at = "end", time.monotonic()
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
