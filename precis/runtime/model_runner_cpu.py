"""Prefill and decode steps of graphs with dynamic shapes: the decoder writes the KV cache in place."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from precis.bundle.names import BLOCK_MAXIMA, LOG_SUMS, LOGITS
from precis.decoding.step_logits import StepLogits, block_size
from precis.runtime import ort
from precis.runtime.encoder_pool import Encoded, EncoderPool
from precis.runtime.kv_cache import MAX_TOKENS_PER_STEP, IntArray, Prefill
from precis.runtime.kv_cache_cpu import BlockTables, CpuKVCache
from precis.runtime.model import Seq2SeqModel


@dataclass
class _StepBinding:
    """The decoder's inputs and outputs for one batch shape and its tables, bound to memory of the runner and cache."""

    binding: ort.IOBinding
    tables: BlockTables
    input_ids: npt.NDArray[np.int64]  # (rows, steps)


class CpuModelRunner:
    """Encodes texts one by one without padding, and decodes all rows in one run. Implements `ModelRunner`."""

    chooses_tokens = False
    argmax: tuple[list[int], list[float]] = ([], [])

    def __init__(
        self, model: Seq2SeqModel, rows: int, max_source_tokens: int, max_tokens_per_step: int = MAX_TOKENS_PER_STEP
    ) -> None:
        self.kv_cache = CpuKVCache(model, rows, max_source_tokens, max_tokens_per_step)
        self.max_tokens_per_step = max_tokens_per_step
        self._model = model
        self._encode_all = EncoderPool(model.encode, model.encode_in_parallel, model.encoder_workers)
        queries = max(rows, max_tokens_per_step)
        self._input_ids = np.zeros(queries, dtype=np.int64)
        self._logits = np.zeros((queries, model.vocab_size), dtype=np.float32)
        self._maxima = np.zeros((queries, model.vocab_size // block_size(model.vocab_size)), dtype=np.float32)
        self._log_sums = np.zeros(queries, dtype=np.float32)
        self._bindings: dict[tuple[int, ...], _StepBinding] = {}

    def prefill(self, prefills: list[Prefill]) -> list[Exception | None]:
        """See `ModelRunner.prefill`. A text that fails leaves the others as they are."""
        errors: list[Exception | None] = []
        results = self.encode([prefill.input_ids for prefill in prefills])
        for prefill, result in zip(prefills, results, strict=True):
            if isinstance(result, Exception):
                errors.append(result)
            else:
                self.kv_cache.store_source(prefill.rows, result)
                errors.append(None)
        return errors

    def encode(self, texts: list[list[int]]) -> list[Encoded | Exception]:
        """Keys and values of each text for cross-attention, or the exception that its encoding raised."""
        return self._encode_all(texts)

    def decode(
        self, input_ids: npt.NDArray[np.int64], suppressed: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """See `ModelRunner.decode`; `suppressed` is not used."""
        rows, steps = input_ids.shape
        tables = self.kv_cache.block_tables(rows, steps)
        step = self._bindings.get((rows, steps))
        if step is None or step.tables is not tables:
            step = self._bindings[rows, steps] = self._bind(rows, steps, tables)
        step.input_ids[:] = input_ids
        self._model.decoder.run_with_iobinding(step.binding)
        return self._logits[: rows * steps].reshape(rows, steps, -1)

    def step_logits(self, rows: IntArray, position: int = 0) -> StepLogits:
        """See `ModelRunner.step_logits`."""
        queries = rows + position  # several steps are those of row 0
        return StepLogits(self._logits, queries, self._maxima[queries], self._log_sums[queries])

    def _bind(self, rows: int, steps: int, tables: BlockTables) -> _StepBinding:
        model, cache, count = self._model, self.kv_cache, rows * steps
        binding = model.decoder.io_binding()
        input_ids = self._input_ids[:count].reshape(rows, steps)
        blocks = len(tables.block_queries)
        inputs = {
            **{"input_ids": input_ids, "past_length": cache.past_length[:rows], **asdict(tables)},
            **{name: values[:blocks] for name, values in zip(model.cross_kv_inputs, cache.cross_kv, strict=True)},
        }
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in ((LOGITS, self._logits), (BLOCK_MAXIMA, self._maxima), (LOG_SUMS, self._log_sums)):
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array[:count]))
        for name, values in zip(model.self_kv_inputs, cache.self_kv, strict=True):
            # Input and output are the same memory: the decoder writes the new positions in place.
            value = ort.OrtValue.ortvalue_from_numpy(values[:rows])
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
        return _StepBinding(binding, tables, input_ids)
