"""The rows of the running batch on a GPU: caches that never leave the card, and steps that are replayed."""

import itertools
import logging
from dataclasses import dataclass

import numpy as np

from precis.params import MAX_NEW_TOKENS
from precis.runtime.kv_cache import KVCache, Prefill
from precis.runtime.model import Seq2SeqModel, ort

PIECE = 64  # entries of a cache that are moved together; rooms are multiples of it
ALIGNED = 32  # whole numbers of 8 bytes between the inputs that share a buffer
MAX_PREFILL_TOKENS = 8192  # read at once, padding included

log = logging.getLogger("precis.engine")
_graph_ids = itertools.count(1)  # a session may have several slots, and a captured graph knows its memory by address


def rooms(longest: int) -> list[int]:
    """Sizes that caches for `longest` entries may have: PIECE doubled, and the first multiple of it that holds all."""
    last = -(-longest // PIECE) * PIECE
    return [room for room in (PIECE << n for n in range(32)) if room < last] + [last]


class _Caches:
    """All layers' keys and values of one side in one stretch of memory: (names, rows, heads, room, d_kv).

    How much room the rows have is a matter of how the stretch is seen. A step reads the first rows of each name's part.
    """

    def __init__(self, model: Seq2SeqModel, names: list[str], kind: type, rows: int, longest: int) -> None:
        self.names, self.kind, self.rows, self.heads, self.width = names, kind, rows, model.heads, model.d_kv
        self.rooms = rooms(longest)
        self.room = self.rooms[0]
        # What is shut out has to be a number all the same, hence zeros.
        shape = (len(names), rows, model.heads, self.rooms[-1], model.d_kv)
        self.memory = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, kind), model.device, 0)
        self.places = ort.OrtValue.ortvalue_from_numpy(np.arange(self.rooms[-1]), model.device, 0)

    def at_least(self, entries: int) -> int:
        """The smallest room that holds so many entries."""
        return next(room for room in self.rooms if room >= entries)

    def views(self, height: int) -> dict[str, tuple[type, tuple[int, ...], int]]:
        """Type, shape and address of what a step over `height` rows reads and writes, by the inputs' names."""
        each = self.rows * self.heads * self.room * self.width * np.dtype(self.kind).itemsize
        shape = height, self.heads, self.room, self.width
        return {name: (self.kind, shape, self.memory.data_ptr() + i * each) for i, name in enumerate(self.names)}

    def piece_size(self) -> int:
        """Whole numbers of 8 bytes in a piece, as which the memory is moved whatever it holds."""
        return PIECE * self.width * np.dtype(self.kind).itemsize // 8

    def pieces(self, rows: np.ndarray, entries: np.ndarray, room: int, of: int) -> np.ndarray:
        """Numbers of the pieces with the first entries of `rows` in all layers, where `of` rows have `room`."""
        held = np.arange(room // PIECE) < -(-entries[:, None, None] // PIECE)
        heads = (np.arange(len(self.names))[:, None] * of + rows)[:, :, None] * self.heads + np.arange(self.heads)
        found = heads[..., None] * (room // PIECE) + np.arange(room // PIECE)
        return found[np.broadcast_to(held, found.shape)]


@dataclass
class _Bound:
    """A step's inputs and outputs for a number of rows and rooms, and what says that its CUDA graph is replayed."""

    binding: ort.IOBinding
    options: ort.RunOptions
    given: np.ndarray  # (3, rows or more): tokens, past_length, source_length
    memory: ort.OrtValue
    best: ort.OrtValue
    logits: ort.OrtValue


class _Logits:
    """(height, 1, vocabulary), which stay on the card until somebody looks at them."""

    def __init__(self, value: ort.OrtValue) -> None:
        self._value, self._seen = value, None

    def __getitem__(self, index):
        if self._seen is None:
            self._seen = self._value.numpy()
        return self._seen[index]


class CudaKVCache(KVCache):
    """`KVCache` whose caches are on the model's device.

    The decoder runs over the first power of two of rows that holds the last one taken, all of which attend over the
    room of the longest: few shapes, each of which becomes a CUDA graph where `repeated`. One step at a time.
    """

    max_steps = 1

    def __init__(self, model: Seq2SeqModel, rows: int, source_tokens: int, repeated: bool) -> None:
        self._keep_count(model, rows)
        self._repeated = repeated
        self._own = _Caches(model, model.own_names, model.own_type, rows, MAX_NEW_TOKENS)
        self._cross = _Caches(model, model.cross_names, model.source_type, rows, source_tokens)
        self._bound: dict[tuple[int, int, int], _Bound] = {}
        self._moves: list[tuple[np.ndarray, np.ndarray, int]] = []  # rows, their parents, entries
        self._read: ort.OrtValue | None = None  # what the encoder has written last

    @property
    def budget(self) -> int:
        return MAX_PREFILL_TOKENS

    @property
    def crowd(self) -> int:
        return self.rows  # a step takes as long whatever its rows

    @staticmethod
    def bytes_per_row(model: Seq2SeqModel, source_tokens: int) -> int:
        own = len(model.own_names) * rooms(MAX_NEW_TOKENS)[-1] * np.dtype(model.own_type).itemsize
        source = len(model.cross_names) * rooms(source_tokens)[-1] * np.dtype(model.source_type).itemsize
        return (own + source) * model.heads * model.d_kv

    def start(self, starts: list[Prefill]) -> list[Exception | None]:
        new = np.concatenate([start.rows for start in starts])
        self.past_length[new] = self.source_length[new] = 0
        try:
            self._make_room(self._own, max(start.new_tokens for start in starts), self.past_length, new)
            self._make_room(self._cross, max(len(start.ids) for start in starts), self.source_length, new)
        except Exception as error:
            return [error] * len(starts)
        outcomes: list[Exception | None] = []
        together = max(1, MAX_PREFILL_TOKENS // self._cross.room)
        for first in range(0, len(starts), together):
            part = starts[first : first + together]
            try:
                self._encode(part)
                outcomes += [None] * len(part)
            except Exception as error:
                outcomes += [error] * len(part)
        return outcomes

    def _make_room(self, caches: _Caches, entries: int, held: np.ndarray, new: np.ndarray) -> None:
        """Sees to room for so many entries in every row; what the rows hold moves where their room is then."""
        room = caches.at_least(entries)
        live = np.setdiff1d(np.flatnonzero(self._taken), new)
        if not len(live):
            caches.room = room
        elif room > caches.room:
            # The rows have as many pieces in both, and of each row the same ones.
            source, target = (caches.pieces(live, held[live], size, self.rows) for size in (caches.room, room))
            self._copy(caches, caches.memory, self.rows, caches.room, source, target)
            caches.room = room

    def _encode(self, starts: list[Prefill]) -> None:
        """Reads the sources as one batch, and lets each row have its own."""
        caches, model = self._cross, self._model
        lengths = np.array([len(start.ids) for start in starts])
        ids = np.zeros((len(starts), caches.room), dtype=np.int64)
        for row, start in enumerate(starts):
            ids[row, : len(start.ids)] = start.ids
        shape = len(starts), caches.heads, caches.room, caches.width
        size = int(np.prod(shape))
        if self._read is None or self._read.shape()[0] < len(caches.names) * size:
            most = max(MAX_PREFILL_TOKENS // caches.room * caches.room, caches.room) * caches.heads * caches.width
            self._read = ort.OrtValue.ortvalue_from_shape_and_type(
                [len(caches.names) * most], caches.kind, model.device, 0
            )
        binding = model.encoder.io_binding()
        for name, value in (("input_ids", ids), ("source_length", lengths), ("source_places", np.arange(caches.room))):
            binding.bind_cpu_input(name, value)
        for number, name in enumerate(model.cross_kv_outputs):
            address = self._read.data_ptr() + number * size * np.dtype(caches.kind).itemsize
            binding.bind_output(name, model.device, 0, caches.kind, shape, address)
        model.encoder.run_with_iobinding(binding)
        read = np.concatenate([np.full(len(start.rows), number) for number, start in enumerate(starts)])
        rows = np.concatenate([start.rows for start in starts])
        held = lengths[read]
        source = caches.pieces(read, held, caches.room, len(starts))
        target = caches.pieces(rows, held, caches.room, self.rows)
        self._copy(caches, self._read, len(starts), caches.room, source, target)
        self.source_length[rows] = held

    def _copy(
        self, caches: _Caches, given: ort.OrtValue, given_rows: int, room: int, source: np.ndarray, target: np.ndarray
    ) -> None:
        """Pieces `source` of `given`, where so many rows have `room`, become pieces `target` of the caches."""
        if not len(source):
            return
        model, size = self._model, caches.piece_size()
        each = len(caches.names) * caches.heads
        held, all_held = each * given_rows * (room // PIECE), each * self.rows * (caches.rooms[-1] // PIECE)
        binding = model.cache.io_binding()
        binding.bind_input("given", model.device, 0, np.int64, (held, size), given.data_ptr())
        binding.bind_input("cache", model.device, 0, np.int64, (all_held, size), caches.memory.data_ptr())
        binding.bind_cpu_input("source", source)
        binding.bind_cpu_input("target", target[:, None])
        binding.bind_output("updated", model.device, 0, np.int64, (all_held, size), caches.memory.data_ptr())
        model.cache.run_with_iobinding(binding)

    def reorder(self, rows: np.ndarray, parents: np.ndarray) -> None:
        moved = rows != parents
        if moved.any():
            self._moves.append((rows[moved], parents[moved], int(self.past_length[rows[0]])))

    def _reorder_now(self) -> None:
        """All that was to be reordered since the last step, at once: no sequence has rows of another."""
        if self._moves:
            rows, parents = (np.concatenate([move[i] for move in self._moves]) for i in (0, 1))
            held = np.concatenate([np.full(len(move[0]), move[2]) for move in self._moves])
            self._move_entries(self._own, parents, rows, held)
            self._moves.clear()

    def _move_entries(self, caches: _Caches, rows: np.ndarray, targets: np.ndarray, held: np.ndarray) -> None:
        source, target = (caches.pieces(each, held, caches.room, self.rows) for each in (rows, targets))
        self._copy(caches, caches.memory, self.rows, caches.room, source, target)

    def _move(self, row: int, target: int) -> None:
        self._reorder_now()
        for caches, length in ((self._own, self.past_length), (self._cross, self.source_length)):
            self._move_entries(caches, np.array([row]), np.array([target]), length[row : row + 1])

    def free(self, rows: np.ndarray) -> None:
        # What has left goes on from nothing.
        self._moves = [move for move in self._moves if not np.isin(move[0], rows).any()]
        super().free(rows)

    def step(self, tokens: np.ndarray) -> _Logits:
        """As `KVCache.step` for one step; `best` is what the graph chose."""
        self._reorder_now()
        height = len(tokens)
        rows = min(1 << (height - 1).bit_length(), self.rows)
        bound = self._bound.get((rows, self._own.room, self._cross.room)) or self._bind(rows)
        bound.given[0, :height] = tokens[:, 0]
        bound.given[1, :rows] = self.past_length[:rows]
        # A free row has nothing to read, and the mean of nothing would be no number.
        bound.given[2, :rows] = np.maximum(self.source_length[:rows], 1)
        bound.memory.update_inplace(bound.given)
        try:
            self._model.decoder.run_with_iobinding(bound.binding, bound.options)
        except Exception as error:
            if not self._repeated or not self._model.captures:
                raise
            log.warning("Steps are not captured as CUDA graphs: %s", str(error).splitlines()[0])
            bound = None  # with the others it keeps the session that failed
            self._bound.clear()
            self._model.stop_capturing()
            return self.step(tokens)
        self.best = bound.best.numpy()[:height, 0]
        return _Logits(bound.logits)

    def _bind(self, rows: int) -> _Bound:
        model, stride = self._model, max(rows, ALIGNED)
        binding, options = model.decoder.io_binding(), ort.RunOptions()
        captured = self._repeated and model.captures
        options.add_run_config_entry("gpu_graph_id", str(next(_graph_ids)) if captured else "-1")
        given = np.zeros((3, stride), dtype=np.int64)

        def buffer(shape: tuple[int, ...], kind: type) -> ort.OrtValue:
            return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, model.device, 0)

        memory, best = buffer(given.shape, np.int64), buffer((rows, 1), np.int64)
        logits = buffer((rows, 1, model.vocabulary), np.float32)
        inputs = {
            name: (np.int64, shape, memory.data_ptr() + number * stride * 8)
            for number, (name, shape) in enumerate(
                (("input_ids", (rows, 1)), ("past_length", (rows,)), ("source_length", (rows,)))
            )
        }
        for name, caches in (("own_places", self._own), ("source_places", self._cross)):
            inputs[name] = np.int64, (caches.room,), caches.places.data_ptr()
            inputs |= caches.views(rows)
        for name, (kind, shape, address) in inputs.items():
            binding.bind_input(name, model.device, 0, kind, shape, address)
        for name, (kind, shape, address) in self._own.views(rows).items():
            # The same memory in and out: the decoder adds its entries where they belong.
            binding.bind_output(name.replace("past_key_values", "present"), model.device, 0, kind, shape, address)
        binding.bind_ortvalue_output("best", best)
        binding.bind_ortvalue_output("logits", logits)
        bound = _Bound(binding, options, given, memory, best, logits)
        self._bound[rows, self._own.room, self._cross.room] = bound
        return bound


def new_kv_cache(model: Seq2SeqModel, rows: int, source_tokens: int, repeated: bool) -> KVCache:
    """The slots that the model's graphs are for; `repeated` where their steps are many."""
    return CudaKVCache(model, rows, source_tokens, repeated) if model.fixed else KVCache(model, rows, source_tokens)


def bytes_per_row(model: Seq2SeqModel, source_tokens: int) -> int:
    """Memory of a row whose caches are full."""
    return (CudaKVCache if model.fixed else KVCache).bytes_per_row(model, source_tokens)
