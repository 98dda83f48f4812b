"""The work that is not finished, counted as sequences wait, start and finish."""

import math
import time
from types import SimpleNamespace

import pytest

from precis import GenerationParams, TooMuchWork
from precis.params import resolve
from precis.scheduling.backlog import MAX_COUNTED_TOKENS, RequestBacklog
from precis.scheduling.sequence import Sequence
from precis.scheduling.work import Work

QUEUE = 1 << 16  # tokens
COUNTED = MAX_COUNTED_TOKENS

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def sequences(count: int, tokens: int = 100, new: int = 10) -> list[Sequence]:
    params = resolve(GenerationParams(max_new_tokens=new, min_new_tokens=new), CONFIG)
    return [Sequence([3] * tokens, params, lambda: False) for _ in range(count)]


class Request(SimpleNamespace):
    """Hashable by identity, as requests are."""

    __hash__ = object.__hash__


@pytest.fixture
def backlog() -> RequestBacklog:
    """A row step takes 0.1 s, and prefilling next to nothing."""
    backlog = RequestBacklog(QUEUE)
    backlog.costs.decode.add(1000, 100.0)
    return backlog


def new_request(caller: str | None, deadline: float | None = None) -> Request:
    return Request(caller=caller, weight=1.0, deadline=deadline)


def test_counts_return_to_nothing(backlog):
    one, other = new_request("a"), new_request("b")
    work = {one: sequences(3), other: sequences(1)}
    for item, waiting in work.items():
        backlog.add(item, waiting)
    assert backlog.waiting_tokens == 400
    backlog.start(one, work[one][0])
    assert backlog.waiting_tokens == 300
    backlog.finish(one, work[one][0])
    backlog.add(one, sequences(1, tokens=50))  # a further stage
    assert backlog.waiting_tokens == 350
    backlog.remove(one)
    backlog.remove(one)
    assert (backlog.requests, backlog.waiting_tokens) == ([other], 100)
    backlog.remove(other)
    assert (backlog.waiting_tokens, backlog._counted_tokens, backlog._callers) == (0, 0, {})


def test_time_until_done_counts_a_long_text_only_as_far_as_it_goes_first(backlog):
    backlog.add(new_request("a"), sequences(100))  # 100 s
    backlog.add(new_request("a"), sequences(1))
    judgement = backlog.judge(new_request("a"), sequences(1), 10**6)
    assert judgement.newcomer.seconds == pytest.approx(1, rel=0.05)
    assert judgement.estimated_seconds == pytest.approx(1 + 1 + 1, rel=0.05)
    assert backlog.judge(new_request("b"), sequences(1), 10**6).estimated_seconds == pytest.approx(2, rel=0.05)


def test_of_a_long_text_a_part_counts_against_the_queue(backlog):
    backlog.add(new_request("heavy"), sequences(1000))
    assert backlog.waiting_tokens == 100_000
    assert not backlog.is_full("light", 3 * COUNTED)
    assert not backlog.is_full("heavy", 2 * COUNTED)
    assert backlog.is_full("heavy", 2 * COUNTED - 1)
    assert not backlog.is_full(None, COUNTED)


def test_work_that_is_never_done_in_time_is_refused(backlog):
    with pytest.raises(TooMuchWork):
        backlog.judge(new_request("a", time.monotonic() + 60), sequences(100), 10**6)
    judgement = backlog.judge(new_request("a"), sequences(100), 10**6)
    assert judgement.newcomer.seconds_left == math.inf
    assert judgement.admits


def test_what_is_done_of_a_running_request_is_no_work_any_more(backlog):
    request = new_request("a")
    [sequence] = sequences(1, new=100)
    backlog.add(request, [sequence])
    backlog.start(request, sequence)
    for done in (0, 40, 40, 40):
        before = backlog.judge(new_request("a"), sequences(1), 10**6).estimated_seconds
        backlog.advance(request, sequence, Work(row_steps=done))
    assert before == pytest.approx(2 + 1, rel=0.05), "with 80 of 100 steps done"
    assert backlog.judge(new_request("a"), sequences(1), 10**6).estimated_seconds == pytest.approx(1, rel=0.05)
    backlog.finish(request, sequence)
    backlog.remove(request)
    backlog.advance(request, sequence, Work(row_steps=1))
    assert backlog._callers == {}


def test_later_stages_of_a_long_text_are_counted_once(backlog):
    """20 chunks of 100 tokens become 20 summaries of 10, so two further chunks, and those one."""
    request, chunks = new_request("a"), sequences(20)
    assert backlog.judge(request, chunks, 10**6).estimated_seconds == pytest.approx(20 + 2 + 1, rel=0.05)
    backlog.add(request, chunks)

    def seconds() -> float:
        return backlog.costs.rates()(backlog._callers["a"].work)

    for stage, expected in ((chunks, 2 + 1), (sequences(2), 1), (sequences(1), 0)):
        if stage is not chunks:
            backlog.add(request, stage)
        for sequence in stage:
            backlog.finish(request, sequence)
        assert seconds() == pytest.approx(expected, rel=0.05, abs=1e-9)
