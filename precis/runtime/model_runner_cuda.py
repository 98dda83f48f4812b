"""Prefill and decode steps of static graphs: batches with padding, and decode steps replayed as CUDA graphs."""

import itertools
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from precis.decoding.step_logits import StepLogits
from precis.runtime import ort
from precis.runtime.kv_cache import IntArray, Prefill
from precis.runtime.kv_cache_cuda import MAX_PREFILL_TOKENS, CudaKVCache, TensorView
from precis.runtime.model import Seq2SeqModel

ALIGNMENT = 32  # int64 values; inputs and outputs that share a buffer begin at multiples of it
HOST_INPUTS = ("input_ids", "past_length", "source_length", "suppressed_token")

log = logging.getLogger(__name__)
# Unique in the process: a session may serve several caches, and a captured graph refers to memory by its address.
_graph_ids = itertools.count(1)


@dataclass
class _StepBinding:
    """The decoder's inputs and outputs for a number of rows and capacities; its options name the CUDA graph."""

    binding: ort.IOBinding
    options: ort.RunOptions
    host_inputs: npt.NDArray[np.int64]  # (inputs, rows or more): as HOST_INPUTS names them
    inputs: ort.OrtValue  # the same on the device
    choices: ort.OrtValue  # (2, rows or more) int64: the tokens, and their log-probabilities as float32
    logits: ort.OrtValue  # (rows, 1, vocabulary)


class _DeviceLogits:
    """Logits (rows, 1, vocabulary) that are copied to the host when they are first indexed."""

    def __init__(self, value: ort.OrtValue) -> None:
        self._value = value
        self._host: npt.NDArray[np.float32] | None = None

    def __getitem__(self, index: Any, /) -> npt.NDArray[np.float32]:
        if self._host is None:
            self._host = self._value.numpy()
        logits: npt.NDArray[np.float32] = self._host[index]
        return logits


class CudaModelRunner:
    """Encodes texts in padded batches, and decodes all rows in one run of a static graph. Implements `ModelRunner`.

    A step runs over the first power of two of rows that holds all allocated ones, and attends over the capacity of the
    longest row. So there are few shapes, and each of them is captured as a CUDA graph if `cuda_graphs`.
    """

    max_tokens_per_step = 1
    chooses_tokens = True

    def __init__(self, model: Seq2SeqModel, rows: int, max_source_tokens: int, cuda_graphs: bool) -> None:
        self.kv_cache = CudaKVCache(model, rows, max_source_tokens)
        self.argmax: tuple[list[int], list[float]] = ([], [])
        self._logits: _DeviceLogits | None = None  # of the last step
        self._model, self._cuda_graphs = model, cuda_graphs
        # By rows, the two capacities, and whether steps are captured: without that the model has another session.
        self._bindings: dict[tuple[int, int, int, bool], _StepBinding] = {}
        self._encoded: ort.OrtValue | None = None  # the buffer of the encoder's outputs

    def prefill(self, prefills: list[Prefill]) -> list[Exception | None]:
        """See `ModelRunner.prefill`. The texts of a padded batch fail together."""
        cache = self.kv_cache
        try:
            cache.reserve(
                np.concatenate([prefill.rows for prefill in prefills]),
                source_tokens=max(len(prefill.input_ids) for prefill in prefills),
                new_tokens=max(prefill.max_new_tokens for prefill in prefills),
            )
        except Exception as error:
            return [error] * len(prefills)
        errors: list[Exception | None] = []
        batch_size = max(1, MAX_PREFILL_TOKENS // cache.cross_kv.capacity)
        for first in range(0, len(prefills), batch_size):
            batch = prefills[first : first + batch_size]
            try:
                self._prefill_batch(batch)
                errors += [None] * len(batch)
            except Exception as error:
                errors += [error] * len(batch)
        return errors

    def _prefill_batch(self, prefills: list[Prefill]) -> None:
        lengths = np.array([len(prefill.input_ids) for prefill in prefills])
        encoded = self._encode([prefill.input_ids for prefill in prefills], lengths)
        rows = np.concatenate([prefill.rows for prefill in prefills])
        texts = np.concatenate([np.full(len(prefill.rows), text) for text, prefill in enumerate(prefills)])
        self.kv_cache.store_sources(rows, encoded, texts, lengths)

    def _encode(self, texts: list[list[int]], lengths: IntArray) -> ort.OrtValue:
        """Keys and values of the texts, padded to the capacity: (inputs, texts, heads, capacity, d_kv)."""
        cache, model = self.kv_cache.cross_kv, self._model
        input_ids = np.zeros((len(texts), cache.capacity), dtype=np.int64)
        for row, text in enumerate(texts):
            input_ids[row, : len(text)] = text
        shape = len(texts), cache.num_heads, cache.capacity, cache.d_kv
        size = int(np.prod(shape))
        encoded = self._encoded
        if encoded is None or encoded.shape()[0] < len(cache.inputs) * size:
            tokens = max(MAX_PREFILL_TOKENS // cache.capacity * cache.capacity, cache.capacity)
            elements = len(cache.inputs) * tokens * cache.num_heads * cache.d_kv
            encoded = ort.OrtValue.ortvalue_from_shape_and_type([elements], cache.dtype, model.device, 0)
            self._encoded = encoded
        binding = model.encoder.io_binding()
        binding.bind_cpu_input("input_ids", input_ids)
        binding.bind_cpu_input("source_length", lengths)
        binding.bind_cpu_input("source_places", np.arange(cache.capacity))
        for i, name in enumerate(model.cross_kv_outputs):
            address = encoded.data_ptr() + i * size * np.dtype(cache.dtype).itemsize
            binding.bind_output(name, model.device, 0, cache.dtype, shape, address)
        model.encoder.run_with_iobinding(binding)
        return encoded

    def decode(
        self, input_ids: npt.NDArray[np.int64], suppressed: npt.NDArray[np.int64] | None = None
    ) -> _DeviceLogits:
        """See `ModelRunner.decode`; one step at a time. Sets `argmax`."""
        cache = self.kv_cache
        cache.apply_reorders()
        count = len(input_ids)
        rows = min(1 << (count - 1).bit_length(), cache.rows)
        step = self._bindings.get(self._binding_key(rows)) or self._bind(rows)
        step.host_inputs[0, :count] = input_ids[:, 0]
        step.host_inputs[1, :rows] = cache.past_length[:rows]
        # Attention of a free row over no position at all would be NaN.
        step.host_inputs[2, :rows] = np.maximum(cache.source_length[:rows], 1)
        step.host_inputs[3] = -1
        if suppressed is not None:
            step.host_inputs[3, :count] = suppressed
        step.inputs.update_inplace(step.host_inputs)
        try:
            self._model.decoder.run_with_iobinding(step.binding, step.options)
        except Exception as error:
            if not self._cuda_graphs or not self._model.captures_cuda_graphs:
                raise
            log.warning("Decode steps are not captured as CUDA graphs: %s", str(error).splitlines()[0])
            del step  # a binding keeps its session alive
            self._bindings.clear()
            self._model.disable_cuda_graphs()
            return self.decode(input_ids, suppressed)
        tokens, log_probabilities = step.choices.numpy()
        self.argmax = tokens[:count].tolist(), log_probabilities.view(np.float32)[:count].tolist()
        self._logits = _DeviceLogits(step.logits)
        return self._logits

    def step_logits(self, rows: IntArray, position: int = 0) -> StepLogits:
        """See `ModelRunner.step_logits`."""
        assert self._logits is not None
        return StepLogits.from_logits(self._logits[rows, position])

    def _bind(self, rows: int) -> _StepBinding:
        model, cache, stride = self._model, self.kv_cache, max(rows, ALIGNMENT)
        binding, options = model.decoder.io_binding(), ort.RunOptions()
        captured = self._cuda_graphs and model.captures_cuda_graphs
        options.add_run_config_entry("gpu_graph_id", str(next(_graph_ids)) if captured else "-1")

        def device_buffer(shape: tuple[int, ...], dtype: type) -> ort.OrtValue:
            return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, model.device, 0)

        host_inputs = np.zeros((len(HOST_INPUTS), stride), dtype=np.int64)
        inputs, choices = device_buffer(host_inputs.shape, np.int64), device_buffer((2, stride), np.int64)
        logits = device_buffer((rows, 1, model.vocab_size), np.float32)
        row_bytes = stride * host_inputs.itemsize
        views: dict[str, TensorView] = {
            name: (np.int64, (rows, 1) if name == "input_ids" else (rows,), inputs.data_ptr() + i * row_bytes)
            for i, name in enumerate(HOST_INPUTS)
        }
        for name, part in (("own_places", cache.self_kv), ("source_places", cache.cross_kv)):
            views[name] = np.int64, (part.capacity,), part.positions.data_ptr()
            views |= part.views(rows)
        for name, (dtype, shape, address) in views.items():
            binding.bind_input(name, model.device, 0, dtype, shape, address)
        for name, (dtype, shape, address) in cache.self_kv.views(rows).items():
            # Input and output are the same memory: the decoder writes the new positions in place.
            output = name.replace("past_key_values", "present")
            binding.bind_output(output, model.device, 0, dtype, shape, address)
        binding.bind_output("best", model.device, 0, np.int64, (rows, 1), choices.data_ptr())
        address = choices.data_ptr() + row_bytes
        binding.bind_output("best_log_probability", model.device, 0, np.float32, (rows, 1), address)
        binding.bind_ortvalue_output("logits", logits)
        step = _StepBinding(binding, options, host_inputs, inputs, choices, logits)
        self._bindings[self._binding_key(rows)] = step
        return step

    def _binding_key(self, rows: int) -> tuple[int, int, int, bool]:
        cache = self.kv_cache
        return rows, cache.self_kv.capacity, cache.cross_kv.capacity, self._model.captures_cuda_graphs
