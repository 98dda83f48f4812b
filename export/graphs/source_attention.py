"""Cross-attention over sources that are stored once, in blocks of positions, however many queries read them.

A source of any length takes as many blocks as it needs (PagedAttention, Kwon et al. 2023), and all queries of a text,
its beams or the steps of its one row, attend to a block in one matrix product. Each block has a softmax of its own;
the parts of a query are then weighted by the logarithms of their sums (FlashDecoding, Dao et al. 2023).
"""

import torch
from torch import Tensor

from export.graphs.attention import integer_matmul, quantize_uint8

SOURCE_BLOCK = 64  # positions
MASKED = torch.finfo(torch.float32).min
# Keys and values have 8 bits, so queries and weights have 7: see `integer_matmul`.
QUERY_MAX, QUERY_ZERO_POINT, WEIGHT_MAX = 63, 64, 127


class SourceAttention:
    """Attends to the blocks of a decoder step; the same for all layers.

    `block_queries` (blocks, group) int64 are the queries that attend to each block, counted over all rows and steps; a
    block of a text with fewer than `group` queries, or of no text, has any of them in the rest. `block_length`
    (blocks,) int64 are the positions in each block. `query_blocks` (queries, parts) int64 says where the blocks of each
    query stand in the flattened `block_queries`; -1 stands for none.
    """

    def __init__(
        self, block_queries: Tensor, block_length: Tensor, query_blocks: Tensor, heads: int, d_kv: int, quantized: bool
    ) -> None:
        self._d_kv, self._quantized = d_kv, quantized
        head, group = torch.arange(heads), block_queries.shape[1]
        self._queries = block_queries[:, None, :] * heads + head[None, :, None]  # (blocks, heads, group)
        padding = torch.arange(SOURCE_BLOCK)[None, :] >= block_length[:, None]
        self._mask = (padding.float() * MASKED)[:, None, None, :]
        existing = query_blocks.clamp(min=0)
        first = existing + existing // group * (heads - 1) * group  # of head 0, in (blocks, heads, group)
        self._parts = first[:, None, None, :] + (head * group)[None, :, None, None]  # (queries, heads, 1, parts)
        self._missing = (query_blocks < 0)[:, None, None, :]

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The context of each query and head, (queries * heads, d_kv), of `query` (queries * heads, d_kv).

        `keys` are (blocks, heads, d_kv, SOURCE_BLOCK), `values` (blocks, heads, SOURCE_BLOCK, d_kv). If they are int8,
        each query has a dynamic scale, and the weights in a block are relative to the largest one.
        """
        if self._quantized:
            size = query.abs().amax(-1, keepdim=True)
            codes = quantize_uint8(query / size, 1 / QUERY_MAX, QUERY_ZERO_POINT)
            products = integer_matmul(codes[self._queries], keys, 1 / QUERY_MAX, QUERY_ZERO_POINT)
            scores = products * size[self._queries]
        else:
            scores = query[self._queries] @ keys
        scores = scores + self._mask
        largest = scores.amax(-1, keepdim=True)
        weights = (scores - largest).exp()
        if self._quantized:
            contexts = integer_matmul(quantize_uint8(weights, 1 / WEIGHT_MAX, 0), values, 1 / WEIGHT_MAX, 0)
        else:
            contexts = weights @ values
        sums = weights.sum(-1, keepdim=True)
        contexts = (contexts / sums).reshape(-1, self._d_kv)
        # Nothing may be infinite or NaN even in a free row, since its context times zero is part of others.
        logits = torch.where(self._missing, torch.tensor(MASKED), (largest + sums.log()).reshape(-1)[self._parts])
        return logits.softmax(-1) @ contexts[self._parts[:, :, 0]]
