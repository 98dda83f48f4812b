"""The KV cache: memory for the keys and values of each row, which is allocated, filled and freed in place."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]

MAX_TOKENS_PER_STEP = 16  # of a row that decodes alone: its next token and a draft


@dataclass(frozen=True)
class Prefill:
    """A source (`input_ids`, in tokens), the rows (beams,) that decode from it, and how many tokens they may get."""

    rows: IntArray
    input_ids: list[int]
    max_new_tokens: int


class KVCache(ABC):
    """The rows of the running batch; a row holds one beam, and greedy search is one beam.

    Row r holds `past_length[r]` decoded positions, (rows,) int32, in its self-attention cache, from position 0 on. A
    decode step runs over the first `step_rows` rows. Free rows among them are computed in vain until they are allocated
    again or `compact` moves the last rows there. Not thread-safe.

    At most `max_prefill_tokens` should be prefilled between two steps. From `efficient_rows` on, more rows hardly make
    a step more efficient.
    """

    def __init__(self, rows: int, max_prefill_tokens: int, efficient_rows: int) -> None:
        self.rows, self.max_prefill_tokens, self.efficient_rows = rows, max_prefill_tokens, efficient_rows
        self.past_length = np.zeros(rows, dtype=np.int32)
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

    @property
    def is_sparse(self) -> bool:
        """Whether `compact` would save more than a quarter of a decode step."""
        return self.gaps > self.step_rows // 4

    def allocate(self, count: int) -> IntArray:
        """Allocates the `count` lowest free rows and returns them (count,). At least so many rows have to be free."""
        rows = np.flatnonzero(~self._allocated)[:count]
        self._allocated[rows] = True
        return rows

    def free(self, rows: IntArray) -> None:
        """Frees `rows`; what they hold is lost."""
        self._allocated[rows] = False
        self.past_length[rows] = 0

    def reorder(self, rows: IntArray, parents: IntArray) -> IntArray:
        """Continues a sequence at `rows` (beams,) with beams that follow from its rows `parents` (beams,).

        Returns the rows of the new beams (beams,). The first beam of a parent stays in the parent's row; only further
        ones need a copy of its self-attention cache, in the row of a beam that was given up.
        """
        parent_rows = parents.tolist()
        unused = [row for row in rows.tolist() if row not in parent_rows]
        if not unused:
            return parents
        new_rows, seen = parents.copy(), set[int]()
        copied: list[tuple[int, int]] = []
        for beam, parent in enumerate(parent_rows):
            if parent in seen:
                copied.append((parent, unused[len(copied)]))
                new_rows[beam] = copied[-1][1]
            seen.add(parent)
        self._copy_self_kv(copied, rows)
        return new_rows

    @abstractmethod
    def _copy_self_kv(self, copies: list[tuple[int, int]], rows: IntArray) -> None:
        """Copies the self-attention caches of rows to others, all of the sequence at `rows`: [(row, target), ...]."""

    def compact(self) -> dict[int, int]:
        """Moves the last rows into the gaps; returns {old row: new row} of the rows that moved."""
        moves = {}
        while self.gaps:
            target, row = int(np.flatnonzero(~self._allocated)[0]), self.step_rows - 1
            self._move_row(row, target)
            self.past_length[[target, row]] = self.past_length[row], 0
            self._allocated[[target, row]] = True, False
            moves[row] = target
        return moves

    @abstractmethod
    def _move_row(self, row: int, target: int) -> None:
        """Moves what `row` holds to `target`, which is free."""

    @abstractmethod
    def release_unused(self) -> None:
        """Gives memory that no row uses back to the system, where that is possible."""
