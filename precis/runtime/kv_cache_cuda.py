"""The KV cache of static graphs: all memory stays on the device, and rows are copied there in blocks."""

import numpy as np

from precis.params import MAX_NEW_TOKENS
from precis.runtime import ort
from precis.runtime.kv_cache import IntArray, KVCache
from precis.runtime.model import Seq2SeqModel

BLOCK_SIZE = 64  # positions that are copied together; capacities are multiples of it
MAX_PREFILL_TOKENS = 8192  # in one batch, with padding

TensorView = tuple[type, tuple[int, ...], int]  # type, shape and address of a part of a device buffer


def capacities(max_positions: int) -> list[int]:
    """The capacities that a cache for `max_positions` may have.

    They are BLOCK_SIZE times 1, 2, 4 ..., and last the first multiple of BLOCK_SIZE that holds `max_positions`.
    """
    largest = -(-max_positions // BLOCK_SIZE) * BLOCK_SIZE
    return [capacity for capacity in (BLOCK_SIZE << n for n in range(32)) if capacity < largest] + [largest]


class DeviceCache:
    """Keys and values of all layers, of self-attention or of cross-attention, in one device buffer.

    The buffer is seen as (inputs, rows, heads, `capacity`, d_kv). It has the size of the largest capacity; a smaller
    one lets a step attend over fewer positions. A step over n rows reads the first n rows of each input's part.
    """

    def __init__(self, model: Seq2SeqModel, inputs: list[str], dtype: type, rows: int, max_positions: int) -> None:
        self.inputs, self.dtype, self.rows = inputs, dtype, rows
        self.num_heads, self.d_kv = model.num_heads, model.d_kv
        self.capacities = capacities(max_positions)
        self.capacity = self.capacities[0]
        # Masked positions are multiplied by zero, so they have to be finite.
        shape = (len(inputs), rows, self.num_heads, self.capacities[-1], self.d_kv)
        self.buffer = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), model.device, 0)
        self.positions = ort.OrtValue.ortvalue_from_numpy(np.arange(self.capacities[-1]), model.device, 0)
        self._session, self._device = model.block_copy, model.device

    def capacity_for(self, positions: int) -> int:
        """The smallest capacity that holds `positions`."""
        return next(capacity for capacity in self.capacities if capacity >= positions)

    def views(self, rows: int) -> dict[str, TensorView]:
        """The first `rows` rows of each input's part: {input: (type, shape, address)}."""
        input_bytes = self.rows * self.num_heads * self.capacity * self.d_kv * np.dtype(self.dtype).itemsize
        shape, address = (rows, self.num_heads, self.capacity, self.d_kv), self.buffer.data_ptr()
        return {name: (self.dtype, shape, address + i * input_bytes) for i, name in enumerate(self.inputs)}

    def block_ids(self, rows: IntArray, lengths: IntArray, capacity: int, buffer_rows: int) -> IntArray:
        """The indices of the blocks that hold the first `lengths` (n,) positions of `rows` (n,) in all inputs.

        They are counted in a buffer of `buffer_rows` rows of `capacity` positions.
        """
        row_blocks = capacity // BLOCK_SIZE
        is_used = np.arange(row_blocks) < -(-lengths[:, None, None] // BLOCK_SIZE)
        input_rows = np.arange(len(self.inputs))[:, None] * buffer_rows + rows
        heads = input_rows[:, :, None] * self.num_heads + np.arange(self.num_heads)
        blocks = heads[..., None] * row_blocks + np.arange(row_blocks)
        return blocks[np.broadcast_to(is_used, blocks.shape)]

    def copy_rows(self, rows: IntArray, targets: IntArray, lengths: IntArray) -> None:
        """Copies the first `lengths` positions of `rows` to `targets`, all (n,); reads everything before it writes."""
        source, target = (self.block_ids(each, lengths, self.capacity, self.rows) for each in (rows, targets))
        self.copy_blocks(self.buffer, self.rows, self.capacity, source, target)

    def resize(self, capacity: int, rows: IntArray, lengths: IntArray) -> None:
        """Changes the capacity to a larger one; the first `lengths` positions of `rows` move to their new blocks."""
        source, target = (self.block_ids(rows, lengths, size, self.rows) for size in (self.capacity, capacity))
        self.copy_blocks(self.buffer, self.rows, self.capacity, source, target)
        self.capacity = capacity

    def copy_blocks(
        self, buffer: ort.OrtValue, buffer_rows: int, capacity: int, source: IntArray, target: IntArray
    ) -> None:
        """Copies blocks `source` (n,) of `buffer`, with `buffer_rows` rows of `capacity`, to blocks `target` (n,)."""
        if not len(source):
            return
        # Blocks are copied as 8-byte integers, whatever they hold.
        block = BLOCK_SIZE * self.d_kv * np.dtype(self.dtype).itemsize // 8
        heads = len(self.inputs) * self.num_heads
        source_shape = heads * buffer_rows * (capacity // BLOCK_SIZE), block
        target_shape = heads * self.rows * (self.capacities[-1] // BLOCK_SIZE), block
        binding, address = self._session.io_binding(), self.buffer.data_ptr()
        binding.bind_input("given", self._device, 0, np.int64, source_shape, buffer.data_ptr())
        binding.bind_input("cache", self._device, 0, np.int64, target_shape, address)
        binding.bind_cpu_input("source", source)
        binding.bind_cpu_input("target", target[:, None])
        binding.bind_output("updated", self._device, 0, np.int64, target_shape, address)
        self._session.run_with_iobinding(binding)


class CudaKVCache(KVCache):
    """`self_kv` and `cross_kv` on the model's device. All rows of a cache have the capacity of the longest one.

    Row r holds `source_length[r]` positions of its source, (rows,) int32: each beam has a copy of its own, because a
    captured step attends from each row to the row of the same number.
    """

    def __init__(self, model: Seq2SeqModel, rows: int, max_source_tokens: int) -> None:
        # A step on a GPU takes about the same time for any number of rows.
        super().__init__(rows, MAX_PREFILL_TOKENS, efficient_rows=rows)
        self.self_kv = DeviceCache(model, model.self_kv_inputs, model.self_kv_dtype, rows, MAX_NEW_TOKENS)
        self.cross_kv = DeviceCache(model, model.cross_kv_inputs, model.cross_kv_dtype, rows, max_source_tokens)
        self.source_length = np.zeros(rows, dtype=np.int32)
        self._pending: list[tuple[IntArray, IntArray, int]] = []  # reorders: rows, their parents, their length

    def reserve(self, new_rows: IntArray, source_tokens: int, new_tokens: int) -> None:
        """Makes the capacities sufficient for sequences that begin at `new_rows`, which are emptied.

        They are for sources of at most `source_tokens` tokens and at most `new_tokens` decoded tokens.
        """
        self.past_length[new_rows] = self.source_length[new_rows] = 0
        others = np.setdiff1d(np.flatnonzero(self._allocated), new_rows)
        for cache, positions, lengths in (
            (self.self_kv, new_tokens, self.past_length),
            (self.cross_kv, source_tokens, self.source_length),
        ):
            capacity = cache.capacity_for(positions)
            if not len(others):
                cache.capacity = capacity
            elif capacity > cache.capacity:
                cache.resize(capacity, others, lengths[others])

    def store_sources(self, rows: IntArray, encoded: ort.OrtValue, texts: IntArray, lengths: IntArray) -> None:
        """Copies encoded texts into the cross-attention cache of `rows` (n,).

        `encoded` is a buffer (inputs, texts, heads, capacity, d_kv); row i gets text `texts[i]` (n,), and `lengths`
        (texts,) are the texts' lengths in tokens.
        """
        cache, row_lengths = self.cross_kv, lengths[texts]
        source = cache.block_ids(texts, row_lengths, cache.capacity, len(lengths))
        target = cache.block_ids(rows, row_lengths, cache.capacity, self.rows)
        cache.copy_blocks(encoded, len(lengths), cache.capacity, source, target)
        self.source_length[rows] = row_lengths

    def _copy_self_kv(self, copies: list[tuple[int, int]], rows: IntArray) -> None:
        parents, targets = np.array(copies).T
        self._pending.append((targets, parents, int(self.past_length[rows[0]])))

    def apply_reorders(self) -> None:
        """Does all that `reorder` was called for since the last step, in one copy: no two sequences share a row."""
        if self._pending:
            rows, parents = (np.concatenate([pending[i] for pending in self._pending]) for i in (0, 1))
            lengths = np.concatenate([np.full(len(pending[0]), pending[2]) for pending in self._pending])
            self.self_kv.copy_rows(parents, rows, lengths)
            self._pending.clear()

    def free(self, rows: IntArray) -> None:
        # A freed row starts empty, so its reorder is not needed.
        self._pending = [pending for pending in self._pending if not np.isin(pending[0], rows).any()]
        super().free(rows)
        self.source_length[rows] = 0

    def release_unused(self) -> None:
        """Releases nothing: captured graphs hold the addresses."""

    def _move_row(self, row: int, target: int) -> None:
        self.apply_reorders()
        for cache, lengths in ((self.self_kv, self.past_length), (self.cross_kv, self.source_length)):
            cache.copy_rows(np.array([row]), np.array([target]), lengths[row : row + 1])
        self.source_length[[target, row]] = self.source_length[row], 0
