"""The KV cache: memory for the keys and values of each row, which is allocated, filled and freed in place."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from precis.params import MAX_NEW_TOKENS
from precis.runtime.model import Seq2SeqModel

IntArray = npt.NDArray[np.integer[Any]]

MAX_TOKENS_PER_STEP = 16  # of a row that decodes alone: its next token and a draft
MAX_PREFILL_TOKENS = 512  # a thread, between two decode steps: a longer prefill would delay the running sequences
EFFICIENT_BATCH_ROWS = 10  # a step of more rows takes little less time a row, and their prefills delay the others


@dataclass(frozen=True)
class Prefill:
    """A source (`input_ids`, in tokens), the rows (beams,) that decode from it, and how many tokens they may get."""

    rows: IntArray
    input_ids: list[int]
    max_new_tokens: int


class KVCache(ABC):
    """The rows of the running batch; a row holds one beam, and greedy search is one beam.

    Row r holds `past_length[r]` decoded positions in its self-attention cache and `source_length[r]` positions of the
    source in its cross-attention cache, both from position 0 on; the two arrays are (rows,) of int32. A decode step
    runs over the first `step_rows` rows. Free rows among them are computed in vain until they are allocated again or
    `compact` moves the last rows there. Not thread-safe.

    At most `max_prefill_tokens` should be prefilled between two steps. From `efficient_rows` on, more rows hardly make
    a step more efficient.
    """

    def __init__(self, rows: int, max_prefill_tokens: int, efficient_rows: int) -> None:
        self.rows, self.max_prefill_tokens, self.efficient_rows = rows, max_prefill_tokens, efficient_rows
        self.past_length = np.zeros(rows, dtype=np.int32)
        self.source_length = np.zeros(rows, dtype=np.int32)
        self._allocated = np.zeros(rows, dtype=bool)

    @property
    def free_rows(self) -> int:
        """The number of rows that can be allocated."""
        return self.rows - int(self._allocated.sum())

    @property
    def step_rows(self) -> int:
        """The number of rows that a decode step runs over: up to the last allocated one."""
        allocated = np.flatnonzero(self._allocated)
        return int(allocated[-1]) + 1 if len(allocated) else 0

    @property
    def gaps(self) -> int:
        """The number of free rows that a decode step runs over."""
        return self.step_rows - int(self._allocated.sum())

    def allocate(self, count: int) -> IntArray:
        """Allocates the `count` lowest free rows and returns them (count,). At least so many rows have to be free."""
        rows = np.flatnonzero(~self._allocated)[:count]
        self._allocated[rows] = True
        return rows

    def free(self, rows: IntArray) -> None:
        """Frees `rows`; what they hold is lost."""
        self._allocated[rows] = False
        self.past_length[rows] = self.source_length[rows] = 0

    @abstractmethod
    def reorder(self, rows: IntArray, parents: IntArray) -> None:
        """Gives each of a sequence's `rows` (beams,) the self-attention cache of its row in `parents` (beams,)."""

    def compact(self) -> dict[int, int]:
        """Moves the last rows into the gaps; returns {old row: new row} of the rows that moved."""
        moves = {}
        while self.gaps:
            target, row = int(np.flatnonzero(~self._allocated)[0]), self.step_rows - 1
            self._copy_row(row, target)
            self.past_length[target], self.source_length[target] = self.past_length[row], self.source_length[row]
            self._allocated[target] = True
            self.free(np.array([row]))
            moves[row] = target
        return moves

    @abstractmethod
    def _copy_row(self, row: int, target: int) -> None:
        """Copies both caches of `row` to `target`."""


class CpuKVCache(KVCache):
    """Caches in numpy arrays, one for each of the model's inputs.

    `self_kv` are (rows, heads, MAX_NEW_TOKENS + tokens_per_step, d_kv), `cross_kv` hold
    max_source_tokens + tokens_per_step positions.
    """

    def __init__(self, model: Seq2SeqModel, rows: int, max_source_tokens: int, tokens_per_step: int) -> None:
        super().__init__(rows, MAX_PREFILL_TOKENS * model.encoder_workers, EFFICIENT_BATCH_ROWS)

        def arrays(names: list[str], capacity: int, dtype: type) -> list[npt.NDArray[Any]]:
            # Zeroed pages take no memory until they are written.
            return [np.zeros((rows, model.num_heads, capacity, model.d_kv), dtype=dtype) for _ in names]

        self.self_kv = arrays(model.self_kv_inputs, MAX_NEW_TOKENS + tokens_per_step, model.self_kv_dtype)
        self.cross_kv = arrays(model.cross_kv_inputs, max_source_tokens + tokens_per_step, model.cross_kv_dtype)

    def store_source(self, rows: IntArray, encoded: list[npt.NDArray[Any]]) -> None:
        """Begins sequences at `rows`, all with the source whose keys and values (1, heads, tokens, d_kv) are given."""
        tokens = encoded[0].shape[2]
        for cache, values in zip(self.cross_kv, encoded, strict=True):
            cache[rows, :, :tokens] = values
        self.past_length[rows], self.source_length[rows] = 0, tokens

    def reorder(self, rows: IntArray, parents: IntArray) -> None:
        changed = rows != parents
        length = self.past_length[rows[0]]
        if changed.any():
            for cache in self.self_kv:
                cache[rows[changed], :, :length] = cache[parents[changed], :, :length]

    def _copy_row(self, row: int, target: int) -> None:
        for caches, length in ((self.self_kv, self.past_length[row]), (self.cross_kv, self.source_length[row])):
            for cache in caches:
                cache[target, :, :length] = cache[row, :, :length]
