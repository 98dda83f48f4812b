"""How many texts and rows the KV cache holds: as many as are useful and its memory allows."""

from dataclasses import dataclass

import numpy as np

from precis.params import MAX_BEAMS, MAX_NEW_TOKENS
from precis.runtime.kv_cache import MAX_TOKENS_PER_STEP
from precis.runtime.kv_cache_cuda import capacities
from precis.runtime.model import Seq2SeqModel

# Texts and rows that are decoded at once, fewer if their KV cache would be larger than MAX_CACHE_BYTES. Beams of a text
# share its source on CPUs, so that as many texts run with four beams as with one.
DEFAULT_TEXTS = {"cpu": 32, "cuda": 128}
DEFAULT_ROWS = {"cpu": 128, "cuda": 128}
MAX_CACHE_BYTES = {"cpu": 2 << 30, "cuda": 8 << 30}


@dataclass(frozen=True)
class CacheSize:
    """The texts and the rows that are decoded at once; the bytes of a full row, and of the full cache."""

    texts: int
    rows: int
    row_bytes: int
    total_bytes: int


def cache_size(model: Seq2SeqModel, max_source_tokens: int, rows: int | None) -> CacheSize:
    """The size for `rows` rows; without it DEFAULT_TEXTS with all their beams, within the two other bounds above."""
    row_bytes, source_bytes = bytes_of_row_and_source(model, max_source_tokens)
    memory = MAX_CACHE_BYTES[model.device]
    texts = rows or min(DEFAULT_TEXTS[model.device], memory // (row_bytes + source_bytes))
    rows = max(MAX_BEAMS, rows or min(DEFAULT_ROWS[model.device], (memory - texts * source_bytes) // row_bytes))
    texts = min(rows, max(texts, 2))  # one text may have MAX_BEAMS, which two texts have room for
    return CacheSize(texts, rows, row_bytes, rows * row_bytes + texts * source_bytes)


def bytes_of_row_and_source(model: Seq2SeqModel, max_source_tokens: int) -> tuple[int, int]:
    """The KV cache memory of a full row and of a full source, in bytes. Static graphs store a source in each row."""
    if model.static:
        self_capacity, cross_capacity = (capacities(tokens)[-1] for tokens in (MAX_NEW_TOKENS, max_source_tokens))
    else:
        self_capacity = MAX_NEW_TOKENS + MAX_TOKENS_PER_STEP
        cross_capacity = -(-max_source_tokens // model.block_size) * model.block_size
    row = len(model.self_kv_inputs) * self_capacity * np.dtype(model.self_kv_dtype).itemsize
    source = len(model.cross_kv_inputs) * cross_capacity * np.dtype(model.cross_kv_dtype).itemsize
    entry = model.num_heads * model.d_kv
    return (row + source) * entry if model.static else row * entry, 0 if model.static else source * entry
