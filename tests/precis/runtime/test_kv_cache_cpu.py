"""The KV cache on CPUs: sources shared by beams, blocks without gaps, and copies of what differs."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from precis.runtime.kv_cache_cpu import CpuKVCache

HEADS, D_KV, BLOCK = 2, 4, 8
MODEL = SimpleNamespace(
    self_kv_inputs=["key", "value"],
    cross_kv_inputs=["source.key", "source.value"],
    self_kv_dtype=np.float32,
    cross_kv_dtype=np.float32,
    num_heads=HEADS,
    d_kv=D_KV,
    block_size=BLOCK,
    encoder_workers=1,
)


@pytest.fixture
def cache() -> CpuKVCache:
    return CpuKVCache(MODEL, rows=12, max_source_tokens=40, tokens_per_step=1)


def add_text(cache: CpuKVCache, beams: int, tokens: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    encoded = [*np.random.default_rng(seed).normal(size=(2, 1, HEADS, tokens, D_KV)).astype(np.float32)]
    rows = cache.allocate(beams)
    cache.store_source(rows, encoded)
    return rows, encoded


def source_of(cache: CpuKVCache, row: int) -> list[np.ndarray]:
    """Keys and values (1, heads, tokens, d_kv) of what the only query of `row` attends to, by the tables."""
    tables = cache.block_tables(cache.step_rows, 1)
    group = tables.block_queries.shape[1]
    places = [place for place in tables.query_blocks[row] if place >= 0]
    assert all(tables.block_queries[place // group, place % group] == row for place in places)
    keys, values = cache.cross_kv
    parts = [(place // group, tables.block_length[place // group]) for place in places]
    return [
        np.concatenate([keys[block, :, :, :length].transpose(0, 2, 1) for block, length in parts], axis=1)[None],
        np.concatenate([values[block, :, :length] for block, length in parts], axis=1)[None],
    ]


def test_beams_share_the_blocks_of_their_source_and_keep_them_when_gaps_are_closed(cache):
    texts = [add_text(cache, beams, tokens, seed) for seed, (beams, tokens) in enumerate([(4, 20), (1, 3), (4, 40)])]
    assert len(cache.block_tables(9, 1).block_queries) == 3 + 1 + 5, "blocks, not beams, are counted"
    for rows, encoded in texts:
        for row in rows:
            np.testing.assert_equal(source_of(cache, row), encoded)
    cache.free(texts[0][0])
    assert cache.is_sparse
    moves = cache.compact()
    assert not cache.is_sparse
    tables = cache.block_tables(5, 1)
    assert cache.compact() == {}
    assert cache.block_tables(5, 1) is tables, "without moves nothing has to be bound anew"
    assert len(cache.block_tables(5, 1).block_queries) == 1 + 5
    for rows, encoded in texts[1:]:
        for row in rows.tolist():
            np.testing.assert_equal(source_of(cache, moves.get(row, row)), encoded)


def test_reordered_rows_hold_the_history_of_their_beams(cache):
    random = np.random.default_rng(3)
    rows, _ = add_text(cache, 4, 5, 0)
    histories = [[] for _ in rows]  # of each beam, the values written at its positions
    for position in range(12):
        for beam, row in enumerate(rows):
            histories[beam].append(float(random.normal()))
            cache.self_kv[:, row, :, position] = histories[beam][-1]
        cache.past_length[rows] += 1
        parents = random.integers(0, 4, 4)
        rows = cache.reorder(rows, rows[parents])
        histories = [[*histories[parent]] for parent in parents]
        assert sorted(rows.tolist()) == [0, 1, 2, 3]
        for row, history in zip(rows, histories, strict=True):
            np.testing.assert_allclose(cache.self_kv[0, row, 0, : position + 1, 0], history, rtol=1e-6)


def test_a_parent_keeps_its_row_and_only_what_differs_is_copied(cache):
    rows, _ = add_text(cache, 2, 5, 0)
    cache.past_length[rows] = 3
    cache.self_kv[:, rows] = 7.0
    cache.reorder(rows, rows[[0, 0]])
    cache.self_kv[:, 0, :, :3] = 1.0  # would be copied if these positions counted as different
    cache.past_length[rows] = 4
    assert cache.reorder(rows, rows[[0, 0]]).tolist() == [0, 1]
    assert cache.self_kv[0, 1, 0, :4, 0].tolist() == [7.0, 7.0, 7.0, cache.self_kv[0, 0, 0, 3, 0]]
    assert cache.reorder(rows, rows[[1, 0]]).tolist() == [1, 0], "swapped beams swap rows, and nothing is copied"


def test_memory_after_the_last_row_and_block_is_given_back():
    """Of a cache of some megabytes that was full, as the system counts resident pages; what is in use stays."""
    cache = CpuKVCache(MODEL, rows=256, max_source_tokens=400, tokens_per_step=1)
    rows, encoded = add_text(cache, 2, 300, 0)
    cache.self_kv[:, rows] = 1
    process = psutil.Process()
    empty = process.memory_info().rss
    others = [add_text(cache, 2, 400, seed)[0] for seed in range(127)]
    for taken in others:
        cache.self_kv[:, taken] = 2
    full = process.memory_info().rss
    assert full - empty > 0.7 * (cache.self_kv.nbytes + sum(array.nbytes for array in cache.cross_kv))
    for taken in others:
        cache.free(taken)
    cache.release_unused()
    assert process.memory_info().rss - empty < (full - empty) / 8
    np.testing.assert_equal(source_of(cache, rows[0]), encoded)
    assert (cache.self_kv[:, rows] == 1).all()
    again, encoded = add_text(cache, 2, 400, 1)
    np.testing.assert_equal(source_of(cache, again[1]), encoded)
