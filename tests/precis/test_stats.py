"""The figures an engine gives of itself and of each summary."""

import time

import pytest

from precis import Engine, EngineFull, GenerationParams
from tests.conftest import gazette

TEXT = gazette("validation")[0]["document"]


@pytest.fixture(scope="module")
def engine(tiny_run):
    loaded = Engine.load(tiny_run / "bundle", rows=8, max_waiting_tokens=300)
    yield loaded
    loaded.close()


def test_an_idle_engine_has_nothing_running_or_waiting(engine):
    stats = engine.stats()
    assert (stats.rows, stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (8, 0, 0, 0)
    assert stats.max_waiting_tokens == 300
    assert stats.tokens_per_second > 0
    # 2 layers of keys and values, 4 heads of 8: 528 own entries of 4 bytes and the source's 64 with 16 to spare.
    assert stats.cache_bytes == 8 * (2 * 2 * 4 * 8) * (528 + 64 + 16) * 4


def test_what_waits_and_runs_is_counted_and_past_the_bound_refused(engine):
    long = GenerationParams(max_new_tokens=512, min_new_tokens=512, long_text="truncate", num_beams=4)
    futures = [engine.submit(TEXT, long) for _ in range(2)]  # 64 tokens each, room for two at once
    end = time.monotonic() + 10
    while engine.stats().running_rows < 8 and time.monotonic() < end:
        time.sleep(0.001)
    futures += [engine.submit(TEXT, long) for _ in range(4)]
    stats = engine.stats()
    assert (stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (8, 4, 4 * 64)
    engine.check_admission()
    futures.append(engine.submit(TEXT, long))
    with pytest.raises(EngineFull):
        engine.check_admission()
    with pytest.raises(EngineFull):
        engine.submit(TEXT, long)
    for future in futures:
        future.cancel()
    assert engine.stats().waiting_tokens == 0
    engine.generate(["A short text."])
    assert engine.stats().running_rows == 0


def test_a_summary_tells_how_long_it_took(engine):
    # Eight rows for nine of one beam: the last one waits for another to end.
    long = GenerationParams(max_new_tokens=100, min_new_tokens=100, long_text="truncate")
    began = time.monotonic()
    summaries = engine.generate([TEXT] * 9, long)
    whole = time.monotonic() - began
    for summary in summaries:
        assert 0 <= summary.waiting_seconds <= summary.first_token_seconds < summary.seconds <= whole
    assert summaries[8].waiting_seconds > summaries[0].first_token_seconds
    split = engine.generate([TEXT], GenerationParams(max_new_tokens=30, min_new_tokens=30))[0]
    assert split.chunks > 1
    assert split.waiting_seconds < split.first_token_seconds < split.seconds
