"""The rows of the running batch: their caches lie where they are, are refilled in place and written by the decoder."""

from dataclasses import dataclass

import numpy as np

from precis.params import MAX_NEW_TOKENS
from precis.runtime.encoder_pool import EncoderPool
from precis.runtime.model import Seq2SeqModel, ort

MAX_STEPS = 16  # decoder steps of one row at once
OWN_ROOM = MAX_NEW_TOKENS + MAX_STEPS
MAX_PREFILL_TOKENS = 512  # a thread; read between two steps at most, so that what runs does not wait for what comes
EFFICIENT_BATCH_ROWS = (
    10  # rows; with more of them a step costs little less a row, and reading for more delays all that run
)


@dataclass(frozen=True)
class Prefill:
    """A source to be read, `ids`, the rows that go on from it, and how many tokens they may get at most."""

    rows: np.ndarray
    ids: list[int]
    new_tokens: int


@dataclass
class _Bound:
    """Inputs and outputs of the decoder for a batch shape, tied to the slots' memory."""

    binding: ort.IOBinding
    ids: np.ndarray  # (rows, steps)
    logits: np.ndarray  # (rows, steps, vocabulary)


class KVCache:
    """Caches for `rows` sequences with sources of at most `source_tokens` tokens.

    Own caches are (rows, heads, OWN_ROOM, d_kv), those of cross-attention (rows, heads, source_tokens + MAX_STEPS,
    d_kv); row r holds `past_length[r]` and `source_length[r]` entries from 0 on. The decoder runs over the rows up to
    the last one taken; free ones among them are dead weight until they are filled again or `compact` closes the gaps.
    """

    max_steps = MAX_STEPS
    best: np.ndarray | None = None  # (height,), the tokens with the largest logits where the last step chose them

    def __init__(self, model: Seq2SeqModel, rows: int, source_tokens: int) -> None:
        self._keep_count(model, rows)
        self._read = EncoderPool(model.encode, model.encode_beside_others, model.readers)

        def caches(names: list[str], room: int, kind: type) -> list[np.ndarray]:
            # Pages that nothing was written to take no memory.
            return [np.zeros((rows, model.heads, room, model.d_kv), dtype=kind) for _ in names]

        self._own = caches(model.own_names, OWN_ROOM, model.own_type)
        self._cross = caches(model.cross_names, source_tokens + MAX_STEPS, model.source_type)
        self._ids = np.zeros(max(rows, MAX_STEPS), dtype=np.int64)
        self._logits = np.zeros(max(rows, MAX_STEPS) * model.vocabulary, dtype=np.float32)
        self._bound: dict[tuple[int, int], _Bound] = {}

    def _keep_count(self, model: Seq2SeqModel, rows: int) -> None:
        self._model, self.rows = model, rows
        self.past_length = np.zeros(rows, dtype=np.int32)
        self.source_length = np.zeros(rows, dtype=np.int32)
        self._taken = np.zeros(rows, dtype=bool)

    @property
    def budget(self) -> int:
        """Tokens to be read between two steps at most."""
        return MAX_PREFILL_TOKENS * self._model.readers

    @property
    def crowd(self) -> int:
        """Rows from which on the batch gains little by growing."""
        return EFFICIENT_BATCH_ROWS

    @staticmethod
    def bytes_per_row(model: Seq2SeqModel, source_tokens: int) -> int:
        """Memory of a row whose caches are full."""
        own = len(model.own_names) * OWN_ROOM * np.dtype(model.own_type).itemsize
        source = len(model.cross_names) * (source_tokens + MAX_STEPS) * np.dtype(model.source_type).itemsize
        return (own + source) * model.heads * model.d_kv

    @property
    def height(self) -> int:
        """Rows that a step runs over."""
        taken = np.flatnonzero(self._taken)
        return int(taken[-1]) + 1 if len(taken) else 0

    @property
    def free_rows(self) -> int:
        return self.rows - int(self._taken.sum())

    def take(self, count: int) -> np.ndarray:
        """The `count` lowest free rows; there have to be so many."""
        free = np.flatnonzero(~self._taken)[:count]
        self._taken[free] = True
        return free

    def start(self, starts: list[Prefill]) -> list[Exception | None]:
        """Reads the sources and fills their rows, which have to be taken; returns for each why it failed, or None."""
        outcomes = self._read([start.ids for start in starts])
        for start, outcome in zip(starts, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                self.fill(start.rows, outcome)
        return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]

    def fill(self, rows: np.ndarray, cross: list[np.ndarray]) -> None:
        """Starts sequences at `rows`, all of the source whose keys and values (1, heads, tokens, d_kv) are given."""
        tokens = cross[0].shape[2]
        for cache, given in zip(self._cross, cross, strict=True):
            cache[rows, :, :tokens] = given
        self.past_length[rows], self.source_length[rows] = 0, tokens

    def free(self, rows: np.ndarray) -> None:
        """Gives rows back."""
        self._taken[rows] = False
        self.past_length[rows] = self.source_length[rows] = 0

    def free_all(self) -> None:
        self.free(np.arange(self.rows))

    def reorder(self, rows: np.ndarray, parents: np.ndarray) -> None:
        """Each of `rows` goes on from what its parent row has written; beams share a source, so the rest stays."""
        moved = rows != parents
        length = self.past_length[rows[0]]
        if moved.any():
            for cache in self._own:
                cache[rows[moved], :, :length] = cache[parents[moved], :, :length]

    def gaps(self) -> int:
        """Free rows below the last one taken."""
        return self.height - int(self._taken.sum())

    def compact(self) -> dict[int, int]:
        """Moves the last rows into the gaps; returns where each moved row went."""
        moves = {}
        while self.gaps():
            target, row = int(np.flatnonzero(~self._taken)[0]), self.height - 1
            self._move(row, target)
            self.past_length[target], self.source_length[target] = self.past_length[row], self.source_length[row]
            self._taken[target] = True
            self.free(np.array([row]))
            moves[row] = target
        return moves

    def _move(self, row: int, target: int) -> None:
        for caches, length in ((self._own, self.past_length[row]), (self._cross, self.source_length[row])):
            for cache in caches:
                cache[target, :, :length] = cache[row, :, :length]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Feeds `tokens` (height, steps) and returns the logits (height, steps, vocabulary), valid until the next call.

        More than one step is for a single row. The caller adds what it keeps of the new entries to `past_length`.
        """
        bound = self._bound.get(tokens.shape) or self._bind(*tokens.shape)
        bound.ids[:] = tokens
        self._model.decoder.run_with_iobinding(bound.binding)
        return bound.logits

    def _bind(self, height: int, steps: int) -> _Bound:
        model, count = self._model, height * steps
        binding = model.decoder.io_binding()
        ids = self._ids[:count].reshape(height, steps)
        logits = self._logits[: count * model.vocabulary].reshape(height, steps, model.vocabulary)
        inputs = {
            "input_ids": ids,
            "past_length": self.past_length[:height],
            "source_length": self.source_length[:height],
        }
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(logits))
        names = model.own_names + model.cross_names
        for name, cache in zip(names, self._own + self._cross, strict=True):
            # The same memory in and out: the decoder adds its entries where they belong.
            value = ort.OrtValue.ortvalue_from_numpy(cache[:height])
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
        bound = self._bound[height, steps] = _Bound(binding, ids, logits)
        return bound
