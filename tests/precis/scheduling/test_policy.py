"""The joining policy, without an engine."""

import math

import pytest

from precis.scheduling.policy import MAX_RANKINGS, BatchState, Candidate, may_join

EMPTY = BatchState(free_rows=32, running_rows=0, efficient_rows=10, max_prefill_tokens=1000)


def running(rows: int, oldest_start: float = 5.0) -> BatchState:
    return BatchState(32 - rows, rows, efficient_rows=10, max_prefill_tokens=1000, oldest_start=oldest_start)


def candidate(rows: int = 1, tokens: int = 400, submitted_at: float = 9.0) -> Candidate:
    return Candidate(rows, tokens, submitted_at)


@pytest.mark.parametrize(("rows", "joins"), [(8, True), (9, False)])
def test_candidate_needs_a_free_row_for_each_beam(rows, joins):
    batch = BatchState(free_rows=8, running_rows=1, efficient_rows=10, max_prefill_tokens=1000)
    assert may_join(candidate(rows=rows), batch) is joins


def test_prefill_between_two_steps_is_limited():
    batch = EMPTY.admit(candidate(tokens=600))
    assert may_join(candidate(tokens=400), batch)
    assert not may_join(candidate(tokens=401), batch)


def test_first_text_may_exceed_the_prefill_limit():
    assert may_join(candidate(tokens=5000), EMPTY)
    assert not may_join(candidate(tokens=1), EMPTY.admit(candidate(tokens=5000)))


@pytest.mark.parametrize(("rows", "joins"), [(9, True), (10, False), (31, False)])
def test_efficient_batch_admits_no_request_newer_than_its_oldest(rows, joins):
    assert may_join(candidate(submitted_at=9.0), running(rows, oldest_start=5.0)) is joins


def test_request_that_has_waited_since_before_the_oldest_started_fills_the_batch():
    assert may_join(candidate(submitted_at=5.0), running(31, oldest_start=5.0))
    assert not may_join(candidate(submitted_at=5.0), running(32, oldest_start=5.0))


def test_beams_of_the_last_candidate_may_exceed_the_efficient_rows():
    assert may_join(candidate(rows=8), running(9))


def test_requests_that_arrive_together_run_together():
    batch = EMPTY
    for _ in range(32):
        assert may_join(candidate(tokens=10), batch)
        batch = batch.admit(candidate(tokens=10))
    assert (batch.free_rows, batch.running_rows, batch.prefill_tokens) == (0, 32, 320)
    assert batch.oldest_start == math.inf
    assert not may_join(candidate(tokens=10), batch)


def test_a_ranking_takes_no_row_and_few_are_encoded_ahead():
    ranking = candidate(rows=0, tokens=1)
    full = BatchState(free_rows=0, running_rows=8, efficient_rows=10, max_prefill_tokens=1000)
    assert may_join(ranking, full)
    for _ in range(MAX_RANKINGS):
        assert may_join(ranking, full)
        full = full.admit(ranking)
    assert not may_join(ranking, full)
    assert not may_join(ranking, running(10, oldest_start=5.0))
