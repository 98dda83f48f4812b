"""What the running batch needs of a device: prefill rows of a KV cache, and decode the next step of all of them."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from precis.decoding.step_logits import StepLogits
from precis.runtime.kv_cache import IntArray, KVCache, Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner_cpu import CpuModelRunner
from precis.runtime.model_runner_cuda import CudaModelRunner


class Logits(Protocol):
    """Logits (rows, steps, vocabulary), indexed as a numpy array; on a GPU they are copied to the host when indexed."""

    def __getitem__(self, index: Any, /) -> npt.NDArray[np.float32]: ...


class ModelRunner(Protocol):
    """Runs encoder and decoder on the rows of one KV cache. Not thread-safe."""

    @property
    def kv_cache(self) -> KVCache:
        """The rows and what they hold. The runner fills the rows; the caller allocates and frees them."""

    @property
    def max_tokens_per_step(self) -> int:
        """How many tokens of a single row one call of `decode` may have; 1 means that drafts are not supported."""

    @property
    def chooses_tokens(self) -> bool:
        """Whether the graph chooses tokens, so that `argmax` has them."""

    @property
    def argmax(self) -> tuple[list[int], list[float]]:
        """Of the last step each row's token with the largest logit, its suppressed token left out, and the logarithm of
        that token's probability among the others; empty lists if the graph chooses no tokens."""

    def prefill(self, prefills: list[Prefill]) -> list[Exception | None]:
        """Encodes the sources and fills their allocated rows; returns the exception of each that failed, or None."""

    def decode(self, input_ids: npt.NDArray[np.int64], suppressed: npt.NDArray[np.int64] | None = None) -> Logits:
        """Runs a decode step on the last tokens `input_ids` (rows, steps) of the first rows.

        The logits (rows, steps, vocabulary) are valid until the next call. More than one step is allowed for a single
        row only. The caller adds the steps it accepts to the KV cache's `past_length`. `suppressed` (rows,) are the
        tokens that `argmax` leaves out, -1 or None where there is none.
        """

    def step_logits(self, rows: IntArray, position: int = 0) -> StepLogits:
        """The logits of `rows` (n,) after the last call of `decode`, of several steps those at `position`.

        What a search writes there has no effect on other rows or positions; they are valid until the next call.
        """


def new_model_runner(
    model: Seq2SeqModel, rows: int, max_source_tokens: int, *, cuda_graphs: bool = True
) -> ModelRunner:
    """The runner for the model's graphs, with a KV cache of `rows` rows for sources of at most `max_source_tokens`.

    `cuda_graphs` captures decode steps where the model supports it, which pays if steps of equal shape recur.
    """
    if model.static:
        return CudaModelRunner(model, rows, max_source_tokens, cuda_graphs)
    return CpuModelRunner(model, rows, max_source_tokens)
