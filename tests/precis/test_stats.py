"""The statistics of an engine and the times of a summary."""

import time

import pytest

from precis import Engine, EngineFull, GenerationParams
from tests.conftest import gazette
from tests.support.engines import wait_until

TEXT = gazette("validation")[0]["document"]


@pytest.fixture(scope="module")
def engine(tiny_run):
    with Engine.load(tiny_run / "bundle", rows=8, max_waiting_tokens=300) as engine:
        yield engine


def test_idle_engine_has_nothing_running_or_waiting(engine):
    stats = engine.stats()
    assert (stats.rows, stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (8, 0, 0, 0)
    assert stats.max_waiting_tokens == 300
    assert stats.tokens_per_second > 0
    # 2 layers of keys and values, 4 heads of 8, 528 positions of self-attention and 64 + 16 of cross-attention.
    assert stats.cache_bytes == 8 * (2 * 2 * 4 * 8) * (528 + 64) * 4


def test_running_and_waiting_requests_are_counted_and_a_full_queue_refuses(engine):
    params = GenerationParams(max_new_tokens=512, min_new_tokens=512, long_text="truncate", num_beams=4)
    futures = [engine.submit(TEXT, params) for _ in range(2)]  # 64 tokens each, and rows for two at once
    wait_until(lambda: engine.stats().running_rows == 8)
    futures += [engine.submit(TEXT, params) for _ in range(4)]
    stats = engine.stats()
    assert (stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (8, 4, 4 * 64)
    engine.check_admission()
    futures.append(engine.submit(TEXT, params))
    with pytest.raises(EngineFull):
        engine.check_admission()
    with pytest.raises(EngineFull):
        engine.submit(TEXT, params)
    for future in futures:
        future.cancel()
    assert engine.stats().waiting_tokens == 0
    wait_until(lambda: engine.stats().running_rows == 0)


def test_summary_has_its_times(engine):
    # Eight rows for nine texts: the last one waits until another is finished.
    params = GenerationParams(max_new_tokens=100, min_new_tokens=100, long_text="truncate")
    start = time.monotonic()
    summaries = engine.generate([TEXT] * 9, params)
    seconds = time.monotonic() - start
    for summary in summaries:
        assert 0 <= summary.waiting_seconds <= summary.first_token_seconds < summary.seconds <= seconds
    assert summaries[8].waiting_seconds > summaries[0].first_token_seconds
    split = engine.generate([TEXT], GenerationParams(max_new_tokens=30, min_new_tokens=30))[0]
    assert split.chunks > 1
    assert split.waiting_seconds < split.first_token_seconds < split.seconds
