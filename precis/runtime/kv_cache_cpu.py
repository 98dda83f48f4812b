"""The KV cache of dynamic graphs: numpy arrays, in which a source is stored once for all rows that attend to it."""

import math
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from precis.params import MAX_NEW_TOKENS
from precis.runtime.kv_cache import IntArray, KVCache
from precis.runtime.model import Seq2SeqModel

MAX_PREFILL_TOKENS = 512  # a thread, between two decode steps: a longer prefill would delay the running sequences
EFFICIENT_BATCH_ROWS = 10  # a step of more rows takes little less time a row, and their prefills delay the others
PARTS_MULTIPLE = 8  # blocks of a query are padded to it: sums over whole vectors do not depend on the padding

Array = npt.NDArray[Any]


@dataclass
class _Source:
    """A text's place in the cache: the rows that attend to it (beams,), its blocks (n,), and its length in tokens."""

    rows: IntArray
    blocks: IntArray
    length: int


@dataclass(frozen=True)
class BlockTables:
    """Which queries of a decode step attend to which blocks, as `export.graphs.source_attention` describes it."""

    block_queries: IntArray
    block_length: IntArray
    query_blocks: IntArray


class CpuKVCache(KVCache):
    """`self_kv` is (inputs, rows, heads, MAX_NEW_TOKENS + tokens_per_step, d_kv).

    A source takes blocks of the cross-attention cache: `cross_kv` has an array for each of the model's inputs, keys
    (blocks, heads, d_kv, block_size) and values (blocks, heads, block_size, d_kv). Beams of a text share its blocks.
    """

    def __init__(self, model: Seq2SeqModel, rows: int, max_source_tokens: int, tokens_per_step: int) -> None:
        super().__init__(rows, MAX_PREFILL_TOKENS * model.encoder_workers, EFFICIENT_BATCH_ROWS)
        capacity = MAX_NEW_TOKENS + tokens_per_step
        shape = len(model.self_kv_inputs), rows, model.num_heads, capacity, model.d_kv
        self._buffers: list[mmap.mmap] = []  # of self_kv, then of each of cross_kv
        self.self_kv: Array = self._zeros(shape, model.self_kv_dtype)
        self._block_size = model.block_size
        blocks = rows * self._blocks_for(max_source_tokens)
        key, value = (model.d_kv, self._block_size), (self._block_size, model.d_kv)
        self.cross_kv: list[Array] = [
            self._zeros((blocks, model.num_heads, *shape), model.cross_kv_dtype)
            for _ in model.cross_kv_inputs[::2]
            for shape in (key, value)
        ]
        self._used_blocks = np.zeros(blocks, dtype=bool)
        self._sources: list[_Source] = []
        self._tables: dict[tuple[int, int], BlockTables] = {}
        # The row that computed each position: rows of a sequence agree wherever these are equal.
        self._origins = np.zeros((rows, capacity), dtype=np.int32)

    def _zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Zeros whose memory is taken by the small page as it is written.

        numpy asks for huge pages, with which the first positions of a row take as much memory as all of them.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory is not released
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
            buffer.madvise(mmap.MADV_NOHUGEPAGE)
        self._buffers.append(buffer)
        return np.frombuffer(buffer, dtype=dtype).reshape(shape)

    def release_unused(self) -> None:
        self_kv, *cross_kv = self._buffers
        row_bytes, size = self.self_kv[0, 0].nbytes, self.self_kv[0].nbytes
        for start in range(0, len(self_kv), size):
            _release(self_kv, start + self.step_rows * row_bytes, start + size)
        for buffer, cache in zip(cross_kv, self.cross_kv, strict=True):
            _release(buffer, self._blocks_end * cache[0].nbytes, len(buffer))

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self._block_size)

    def allocate(self, count: int) -> IntArray:
        rows = super().allocate(count)
        self._origins[rows] = rows[:, None]
        return rows

    def free(self, rows: IntArray) -> None:
        super().free(rows)
        self._free_sources(rows)

    def _free_sources(self, rows: IntArray) -> None:
        freed = {*rows.tolist()}
        for source in self._sources:
            if not freed.isdisjoint(source.rows.tolist()):
                self._used_blocks[source.blocks] = False
        self._sources = [source for source in self._sources if freed.isdisjoint(source.rows.tolist())]
        self._tables.clear()

    def store_source(self, rows: IntArray, encoded: list[Array]) -> None:
        """Begins a sequence at `rows`, with the source whose keys and values (1, heads, tokens, d_kv) are given."""
        self._free_sources(rows)
        _, heads, tokens, d_kv = encoded[0].shape
        blocks = np.flatnonzero(~self._used_blocks)[: self._blocks_for(tokens)]
        self._used_blocks[blocks] = True
        padded = np.zeros((heads, len(blocks) * self._block_size, d_kv), dtype=encoded[0].dtype)
        by_block = padded.reshape(heads, len(blocks), self._block_size, d_kv)
        for number, (cache, values) in enumerate(zip(self.cross_kv, encoded, strict=True)):
            padded[:, :tokens] = values[0]
            cache[blocks] = by_block.transpose(1, 0, 2, 3) if number % 2 else by_block.transpose(1, 0, 3, 2)
        self.past_length[rows] = 0
        self._sources.append(_Source(rows, blocks, tokens))

    def block_tables(self, rows: int, steps: int) -> BlockTables:
        """The tables for a decode step of the first `rows` rows; the same object until rows are given or taken."""
        tables = self._tables.get((rows, steps))
        if tables is None:
            tables = self._tables[rows, steps] = self._new_tables(rows, steps)
        return tables

    def _new_tables(self, rows: int, steps: int) -> BlockTables:
        group = max((len(source.rows) for source in self._sources), default=1) * steps
        parts = max((len(source.blocks) for source in self._sources), default=1)
        blocks = _rounded(max(1, self._blocks_end), len(self._used_blocks))
        tables = BlockTables(
            block_queries=np.zeros((blocks, group), dtype=np.int64),
            block_length=np.zeros(blocks, dtype=np.int64),
            query_blocks=np.full((rows * steps, -(-parts // PARTS_MULTIPLE) * PARTS_MULTIPLE), -1, dtype=np.int64),
        )
        for source in self._sources:
            queries = (source.rows[:, None] * steps + np.arange(steps)).reshape(-1)
            tables.block_queries[source.blocks, : len(queries)] = queries
            starts = np.arange(len(source.blocks)) * self._block_size
            tables.block_length[source.blocks] = np.minimum(source.length - starts, self._block_size)
            tables.query_blocks[queries, : len(source.blocks)] = (
                source.blocks * group + np.arange(len(queries))[:, None]
            )
        return tables

    @property
    def is_sparse(self) -> bool:
        used, end = int(self._used_blocks.sum()), self._blocks_end
        return super().is_sparse or end - used > end // 4

    @property
    def _blocks_end(self) -> int:
        """The number of blocks up to the last used one."""
        used = np.flatnonzero(self._used_blocks)
        return int(used[-1]) + 1 if len(used) else 0

    def compact(self) -> dict[int, int]:
        moves = super().compact()
        owners: dict[int, tuple[_Source, int]] = {}
        for source in self._sources:
            source.rows = np.array([moves.get(row, row) for row in source.rows.tolist()])
            owners |= {block: (source, i) for i, block in enumerate(source.blocks.tolist())}
        end = self._blocks_end
        while (target := int(self._used_blocks.argmin())) < (last := self._blocks_end - 1):
            for cache in self.cross_kv:
                cache[target] = cache[last]
            source, i = owners.pop(last)
            source.blocks[i] = target
            self._used_blocks[[target, last]] = True, False
        if moves or end != self._blocks_end:  # new tables need new bindings, a tenth of the time of a step of one text
            self._tables.clear()
        return moves

    def _copy_self_kv(self, copies: list[tuple[int, int]], rows: IntArray) -> None:
        length = int(self.past_length[rows[0]])
        for row, target in copies:
            different = self._origins[row, :length] != self._origins[target, :length]
            first = int(different.argmax())
            self.self_kv[:, target, :, first:length] = self.self_kv[:, row, :, first:length]
            self._origins[target, first:length] = self._origins[row, first:length]

    def _move_row(self, row: int, target: int) -> None:
        length = int(self.past_length[row])
        self.self_kv[:, target, :, :length] = self.self_kv[:, row, :, :length]
        self._origins[target] = target
        self._origins[target, :length] = self._origins[row, :length]


def _release(buffer: mmap.mmap, start: int, end: int) -> None:
    """Gives the whole pages of bytes `start` to `end` back to the system; they are zeros when they are read again."""
    start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    if end - start >= mmap.PAGESIZE and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED, start, (end - start) // mmap.PAGESIZE * mmap.PAGESIZE)


def _rounded(count: int, most: int) -> int:
    """`count`, rounded up so that there are eight values between two powers of two; `most` at most.

    ONNX Runtime plans memory for each shape and keeps the plan.
    """
    step = max(1, 1 << max(0, count.bit_length() - 4))
    return min(-(-count // step) * step, most)
