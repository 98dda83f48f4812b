"""The simulation against what queueing theory says, and its own books."""

import itertools
import math
import random

import numpy as np
import pytest

from precis.runtime.kv_cache import EFFICIENT_BATCH_ROWS
from research.simulate.queueing import Costs, Replica, Text, autoscaled, poisson, route

ONE_AT_A_TIME = Costs(read_text=0.0, read_token=0.0, steps=((1, 0.1),), rows=1)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_row_and_equal_texts_wait_as_pollaczek_and_khinchine_say(load):
    texts = list(poisson(load / 0.1, 20_000, random.Random(2), (10, 10), (1, 1)))
    route(texts, [Replica(ONE_AT_A_TIME)], 1, random.Random(1))
    wait = np.mean([text.latency for text in texts]) - 0.1
    assert wait == pytest.approx(load * 0.1 / (2 * (1 - load)), rel=0.05)


def test_a_batch_works_as_its_costs_say():
    costs = Costs(read_text=0.01, read_token=0.001, steps=((1, 0.1), (3, 0.2)), overhead=0.5, rows=2)
    replica = Replica(costs)
    texts = [Text(0.0, tokens=100, new=3) for _ in range(3)]
    for text in texts:
        replica.submit(text)
    replica.advance(math.inf)
    # Two are read, three steps of two rows; then the third alone.
    first = 2 * 0.11 + 3 * 0.15
    assert [text.done for text in texts] == pytest.approx([first + 0.5, first + 0.5, first + 0.11 + 3 * 0.1 + 0.5])


def test_a_crowd_is_not_held_up_by_who_comes_late():
    replica = Replica(Costs(read_text=0.0, read_token=0.0, steps=((1, 1.0),)))  # steps take a second a row
    first, late = ([Text(at, tokens=10, new=4) for _ in range(EFFICIENT_BATCH_ROWS)] for at in (0.0, 0.5))
    for lot in (first, late):
        replica.advance(lot[0].at)
        for text in lot:
            replica.submit(text)
    replica.advance(math.inf)
    assert {text.done for text in first} == {4.0 * EFFICIENT_BATCH_ROWS}
    assert {text.done for text in late} == {8.0 * EFFICIENT_BATCH_ROWS}


def test_choosing_of_two_beats_chance_and_a_full_queue_refuses():
    tails = []
    for choices in (1, 2):
        texts = list(poisson(80, 200, random.Random(3), (10, 10), (1, 1)))
        route(texts, [Replica(ONE_AT_A_TIME) for _ in range(10)], choices, random.Random(4))
        tails.append(np.percentile([text.latency for text in texts], 95))
    assert tails[1] < 0.6 * tails[0]
    texts = list(poisson(40, 50, random.Random(3), (10, 10), (1, 1)))
    small = Costs(read_text=0.0, read_token=0.0, steps=((1, 0.1),), rows=1, most_waiting=100)
    route(texts, [Replica(small)], 1, random.Random(4))
    answered = [text for text in texts if not math.isnan(text.done)]
    assert len(answered) == pytest.approx(500, abs=15)
    assert max(text.latency for text in answered) < 0.1 * 13


def test_the_autoscaler_adds_replicas_for_a_burst_and_takes_them_away_one_by_one():
    draw = random.Random(5)
    costs = Costs(read_text=0.0, read_token=0.0001, steps=((1, 0.01), (32, 0.02)))
    texts = list(poisson(2, 1800, draw, (400, 400), (30, 30)))
    burst = list(poisson(120, 120, draw, (400, 400), (30, 30)))
    for text in burst:
        text.at += 300
    seen = autoscaled(sorted(texts + burst, key=lambda text: text.at), costs, 20, 10, draw)
    counts = [count for _, count in seen]
    assert max(counts) > 3
    assert counts[-1] == 2
    falls = [time for (time, count), (_, before) in zip(seen[1:], seen, strict=False) if count < before]
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(falls))
    assert falls[0] > 420 + 200
