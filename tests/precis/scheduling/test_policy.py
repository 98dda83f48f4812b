"""The joining policy, without an engine."""

import math
from dataclasses import replace

import pytest

from precis.scheduling.policy import (
    FEW_ROWS,
    MAX_RANKINGS,
    MAX_RANKINGS_PER_CALLER,
    BatchState,
    Candidate,
    may_join,
)

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


def test_a_caller_has_few_rankings_ahead_and_leaves_room_for_others():
    busy = replace(candidate(rows=0, tokens=1), caller_rankings=MAX_RANKINGS_PER_CALLER)
    assert not may_join(busy, EMPTY)
    assert may_join(candidate(rows=0, tokens=1), EMPTY)


def test_a_caller_ranks_one_text_at_a_time_while_others_are_about():
    busy = replace(candidate(rows=0, tokens=1), caller_rankings=1)
    assert may_join(busy, EMPTY)
    assert not may_join(busy, replace(EMPTY, is_shared=True))
    assert may_join(candidate(rows=0, tokens=1), replace(EMPTY, is_shared=True))


def test_caller_ahead_of_its_share_adds_nothing():
    assert may_join(candidate(), EMPTY)
    assert not may_join(replace(candidate(), is_ahead=True), EMPTY)


@pytest.mark.parametrize(("caller_rows", "most_rows", "joins"), [(0, 10, True), (8, 10, True), (9, 10, False)])
def test_who_has_fewer_rows_than_another_joins_an_efficient_batch(caller_rows, most_rows, joins):
    batch = replace(running(10, oldest_start=5.0), most_rows=most_rows)
    newer = replace(candidate(submitted_at=9.0), caller_rows=caller_rows)
    assert may_join(newer, batch) is joins


@pytest.mark.parametrize(("is_shared", "caller_rows", "joins"), [(False, 20, True), (True, 9, True), (True, 10, False)])
def test_one_caller_fills_all_rows_only_while_it_is_alone(is_shared, caller_rows, joins):
    batch = replace(running(20, oldest_start=5.0), most_rows=caller_rows, is_shared=is_shared)
    assert may_join(replace(candidate(submitted_at=4.0), caller_rows=caller_rows), batch) is joins


@pytest.mark.parametrize(
    ("is_shared", "caller_rows", "joins"),
    [(True, FEW_ROWS, True), (True, FEW_ROWS + 1, False), (False, FEW_ROWS + 1, True)],
)
def test_busy_caller_prefills_one_text_at_a_time_beside_others(is_shared, caller_rows, joins):
    batch = replace(running(5), is_shared=is_shared).admit(candidate(tokens=10))
    assert may_join(replace(candidate(tokens=10), caller_rows=caller_rows), batch) is joins


def test_where_rows_cost_nothing_a_busy_caller_prefills_as_many_as_fit():
    gpu = BatchState(32, 5, efficient_rows=37, max_prefill_tokens=1000, prefill_tokens=10, is_shared=True)
    assert may_join(replace(candidate(tokens=10), caller_rows=5), gpu)


def test_joining_counts_the_rows_of_the_caller_that_has_most():
    batch = EMPTY.admit(replace(candidate(rows=4, tokens=10), caller_rows=3)).admit(candidate(rows=2, tokens=10))
    assert batch.most_rows == 7


@pytest.mark.parametrize(("rows", "joins"), [(10, True), (31, True), (32, False)])
def test_streamed_text_joins_at_once(rows, joins):
    streamed = replace(candidate(submitted_at=9.0), is_streamed=True)
    assert may_join(streamed, running(rows, oldest_start=5.0)) is joins


def test_streams_of_a_busy_caller_leave_rows_to_others():
    streamed = replace(candidate(submitted_at=9.0), is_streamed=True, caller_rows=10)
    assert not may_join(streamed, replace(running(10), most_rows=10, is_shared=True))


def test_batch_of_much_work_grows_only_until_it_is_efficient():
    long = replace(candidate(submitted_at=1.0), seconds=4.0)
    assert may_join(long, replace(running(9), seconds=36.0))
    assert may_join(long, replace(running(10), seconds=6.0))
    assert not may_join(long, replace(running(10), seconds=6.1))
    assert may_join(replace(long, seconds=0.0), replace(running(10), seconds=60.0)), "it has no deadline"
    assert may_join(long, replace(running(10), efficient_rows=32, seconds=60.0)), "steps take equally long"
