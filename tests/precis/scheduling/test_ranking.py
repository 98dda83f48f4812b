"""The queue of rankings: turns are limited, cancelled ones leave, a text that cannot be encoded fails alone."""

import pytest

from precis import GenerationParams
from precis.params import resolve
from precis.runtime.sentence_scorer import Source
from precis.scheduling import ranking as ranking_module
from precis.scheduling.ranking import RankingQueue
from precis.scheduling.sequence import Sequence

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


class CountingScorer:
    """Scores a sentence by the sum of its tokens, negated; records every call."""

    batch_size, max_ranked_tokens = 2, 10

    def __init__(self):
        self.begun, self.calls = [], []

    def encode(self, texts):
        return [ValueError("bad") if 666 in ids else Source(ids) for ids in texts]

    def begin(self, source, max_tokens):
        self.begun.append((source.input_ids, max_tokens))

    def log_probabilities(self, sentences, start_token):
        self.calls.append(sentences)
        return [-float(sum(tokens)) for tokens in sentences]


def ranking(input_ids, sentences, is_cancelled=lambda: False, **settings) -> Sequence:
    params = resolve(GenerationParams(mode="extract", **settings), CONFIG)
    return Sequence(input_ids, params, is_cancelled, sentences=sentences)


@pytest.fixture
def scorer():
    return CountingScorer()


@pytest.fixture
def queue(scorer, monkeypatch):
    monkeypatch.setattr(ranking_module, "new_sentence_scorer", lambda *_: scorer)
    return RankingQueue(None, 0)


def test_a_turn_ends_when_its_tokens_are_used_up(queue, scorer):
    first = ranking([5], [[2, 2, 1]] * 5, length_penalty=2.0)
    second = ranking([6], [[4, 1]])
    assert queue.admit([first, second]) == {}
    assert queue.step() == []  # two calls of two sentences of three tokens
    assert [len(call) for call in scorer.calls] == [2, 2]
    assert first.finish_reason == ""
    assert queue.step() == [first, second]
    assert first.scores == [-5 / 3**2] * 5
    assert second.scores == [-5 / 2]
    assert scorer.begun == [([5], 3), ([6], 2)]
    assert queue.sequences == []
    assert (first.finish_reason, second.finish_reason) == ("end", "end")
    assert first.first_token_at <= second.first_token_at


def test_cancelled_rankings_leave_unfinished(queue, scorer):
    cancelled = []
    sequences = [ranking([i], [[2, 1]] * 8, lambda i=i: i in cancelled) for i in range(3)]
    queue.admit(sequences)
    assert queue.step() == []
    cancelled += [0, 1]
    finished = queue.step()
    assert finished[:2] == sequences[:2]
    assert {sequence.finish_reason for sequence in finished[:2]} == {""}
    while queue.sequences:
        finished = queue.step()
    assert finished == [sequences[2]]
    assert scorer.begun == [([0], 2), ([2], 2)]


def test_a_text_that_cannot_be_encoded_fails_alone(queue):
    good, bad = ranking([5], [[2, 1]]), ranking([666], [[2, 1]])
    (failure,) = queue.admit([bad, good]).items()
    assert (failure[0], str(failure[1])) == (bad, "bad")
    assert queue.step() == [good]


def test_scorer_is_made_only_for_a_ranking(monkeypatch):
    made = []
    monkeypatch.setattr(ranking_module, "new_sentence_scorer", lambda *_: made.append(1) or CountingScorer())
    queue = RankingQueue(None, 0)
    assert queue.step() == []
    assert not made
    queue.admit([ranking([5], [[2, 1]])])
    assert made == [1]


def test_the_ranking_of_the_least_served_caller_is_scored_first(queue, scorer):
    first, second, third = (ranking([i], [[2, 1]] * 4) for i in range(3))
    first.priority, second.priority, third.priority = lambda: 2.0, lambda: None, lambda: 1.0
    queue.admit([first, second, third])
    assert queue.step() == [third]
    assert queue.last_turn.tokens == {third: 8, first: 4}
    assert queue.step() == [first]
    assert queue.step() == []
    assert queue.last_turn.tokens == {}, "the second one has to wait"
    second.priority = lambda: 0.0
    assert queue.step() == [second]


def test_cleared_queue_begins_anew(queue, scorer):
    sequence = ranking([5], [[2, 1]] * 20)
    queue.admit([sequence])
    queue.step()
    queue.clear()
    assert queue.sequences == queue.step() == []
    sequence.scores.clear()
    queue.admit([sequence])
    queue.step()
    assert len(scorer.begun) == 2
