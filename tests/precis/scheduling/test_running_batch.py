"""The running batch: any company, any step, gaps, look-up decoding."""

import hypothesis
import pytest
from hypothesis import strategies as st

from precis import GenerationParams
from precis.bundle.verify import open_bundle
from precis.decoding.prompt_lookup import PromptLookup
from precis.params import resolve
from precis.runtime.model import Seq2SeqModel
from precis.scheduling.running_batch import RunningBatch, Sequence
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import LIMIT, SETTINGS, TEXTS

ARRIVAL = st.tuples(
    st.integers(0, 25), st.integers(0, len(TEXTS) - 1), st.integers(0, len(SETTINGS) - 1), st.none() | st.integers(1, 9)
)


@pytest.fixture(scope="module", params=["bundle", "rounded", "fixed"])
def scheduled(request):
    """A scheduler with few rows on the base, and a memory of what each job gave alone."""
    bundle = open_bundle(request.getfixturevalue(request.param))
    return (
        RunningBatch(Seq2SeqModel(bundle, "cpu", 1), 8, LIMIT),
        TextTokenizer.load(bundle),
        bundle.generation_config,
        {},
    )


def job(codec, config, text, settings, gone=lambda: False):
    ids = codec.truncate(codec.encode(TEXTS[text]))
    return Sequence(ids, resolve(GenerationParams(**SETTINGS[settings]), config), gone)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(arrivals=st.lists(ARRIVAL, min_size=2, max_size=9))
def test_a_text_says_the_same_alone_in_any_company_and_from_any_step_on(scheduled, arrivals):
    """Texts of all lengths and settings arrive at random steps; some callers leave in the middle."""
    scheduler, codec, config, known = scheduled
    left_at = {}
    jobs = []
    for arrival, text, settings, stays in sorted(arrivals, key=lambda arrival: arrival[0]):
        at = [10**6]
        jobs.append((arrival, text, settings, job(codec, config, text, settings, lambda at=at: step >= at[0])))
        left_at[jobs[-1][3]] = (at, stays)
    waiting, step = list(jobs), 0
    while waiting or scheduler.running:
        together = []
        while waiting and waiting[0][0] <= step and scheduler.has_room(*together, waiting[0][3]):
            together.append(waiting.pop(0)[3])
        assert not scheduler.admit(*together)
        for new in together:
            at, stays = left_at[new]
            at[0] = step + stays if stays else 10**6
        scheduler.step()
        scheduler.tidy()
        step += 1
    for _, text, settings, done in jobs:
        if (text, settings) not in known:
            known[text, settings] = alone(scheduler, job(codec, config, text, settings))
        if done.finish_reason:
            assert done.tokens == known[text, settings]
        else:
            assert left_at[done][1], "only those whose caller left are without an end"


def test_looking_up_saves_steps_and_changes_nothing(bundle):
    opened = open_bundle(bundle)
    model, codec = Seq2SeqModel(opened, "cpu", 1), TextTokenizer.load(opened)
    copied = 0
    for text in range(4):
        scheduler = RunningBatch(model, 8, LIMIT)
        first = job(codec, opened.generation_config, text, 0)
        scheduler.admit(first)
        steps = 0
        while scheduler.running:
            scheduler.step()
            steps += 1
        second = job(codec, opened.generation_config, text, 0)
        scheduler.admit(second)
        scheduler._running[0].lookup = None
        slow = 0
        while scheduler.running:
            scheduler.step()
            slow += 1
        assert first.tokens == second.tokens
        assert steps <= slow
        copied += slow - steps
    assert copied > 4


def test_a_draft_is_what_follows_in_the_text():
    lookup = PromptLookup([5, 6, 7, 8, 5, 6, 9, 1])
    assert lookup.draft([0, 5, 6], 3) == [7, 8, 5], "the first place counts"
    assert lookup.draft([0, 6, 9], 3) == [1]
    assert lookup.draft([0, 5, 6], 0) == []
    assert lookup.draft([0, 6, 5], 3) == lookup.draft([0], 3) == []


@pytest.mark.parametrize("kind", ["bundle", "fixed"])
def test_gaps_are_filled_in_place_and_closed_when_nobody_comes(request, kind):
    opened = open_bundle(request.getfixturevalue(kind))
    model, codec = Seq2SeqModel(opened, "cpu", 1), TextTokenizer.load(opened)
    scheduler = RunningBatch(model, 8, LIMIT)
    left = set()
    jobs = [job(codec, opened.generation_config, text, 0) for text in range(5)]
    for number, each in enumerate(jobs):
        each.gone = lambda number=number: number in left
        scheduler.admit(each)
    left |= {1, 3}
    scheduler.step()
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (5, 2)
    scheduler.admit(job(codec, opened.generation_config, 6, 0))
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (5, 1)
    left |= {0}
    scheduler.step()
    scheduler.tidy()
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (3, 0)
    while scheduler.running:
        scheduler.step()
    assert jobs[4].tokens == alone(scheduler, job(codec, opened.generation_config, 4, 0))


def alone(scheduler, single):
    scheduler.admit(single)
    while scheduler.running:
        scheduler.step()
    return single.tokens
