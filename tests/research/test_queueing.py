"""The queueing simulation against queueing theory and hand calculations; the measured costs."""

import itertools
import math
import random

import numpy as np
import pytest

from research.simulate.costs import fit_prefill_costs, measure_costs
from research.simulate.predict import callers, first_token
from research.simulate.queueing import EFFICIENT_BATCH_ROWS, Costs, Replica, Text, autoscale, capacity, poisson, route

# t5-small's shape in int8 on two EPYC cores (docs/log.md#joining-policy).
EPYC = Costs(prefill_text=0.0, prefill_token=0.055 / 512, steps=((1, 0.0024), (8, 0.0052), (16, 0.008), (32, 0.0141)))
ONE_AT_A_TIME = Costs(prefill_text=0.0, prefill_token=0.0, steps=((1, 0.1),), rows=1)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_row_and_equal_texts_follow_pollaczek_khinchine(load):
    texts = list(poisson(load / 0.1, 20_000, random.Random(2), (10, 10), (1, 1)))
    route(texts, [Replica(ONE_AT_A_TIME)], 1, random.Random(1))
    wait = np.mean([text.latency for text in texts]) - 0.1
    assert wait == pytest.approx(load * 0.1 / (2 * (1 - load)), rel=0.05)


def test_batch_takes_the_seconds_of_its_costs():
    costs = Costs(prefill_text=0.01, prefill_token=0.001, steps=((1, 0.1), (3, 0.2)), overhead=0.5, rows=2)
    replica = Replica(costs)
    texts = [Text(0.0, tokens=100, new=3) for _ in range(3)]
    for text in texts:
        replica.submit(text)
    replica.advance(math.inf)
    # Two prefills and three steps of two rows; then the third text alone.
    first = 2 * 0.11 + 3 * 0.15
    assert [text.done for text in texts] == pytest.approx([first + 0.5, first + 0.5, first + 0.11 + 3 * 0.1 + 0.5])


def test_full_batch_admits_no_newer_text():
    replica = Replica(Costs(prefill_text=0.0, prefill_token=0.0, steps=((1, 1.0),)))  # steps take a second a row
    first, late = ([Text(at, tokens=10, new=4) for _ in range(EFFICIENT_BATCH_ROWS)] for at in (0.0, 0.5))
    for texts in (first, late):
        replica.advance(texts[0].at)
        for text in texts:
            replica.submit(text)
    replica.advance(math.inf)
    assert {text.done for text in first} == {4.0 * EFFICIENT_BATCH_ROWS}
    assert {text.done for text in late} == {8.0 * EFFICIENT_BATCH_ROWS}


def test_two_choices_beat_one_and_full_queue_refuses():
    tails = []
    for choices in (1, 2):
        texts = list(poisson(80, 200, random.Random(3), (10, 10), (1, 1)))
        route(texts, [Replica(ONE_AT_A_TIME) for _ in range(10)], choices, random.Random(4))
        tails.append(np.percentile([text.latency for text in texts], 95))
    assert tails[1] < 0.6 * tails[0]
    texts = list(poisson(40, 50, random.Random(3), (10, 10), (1, 1)))
    small = Costs(prefill_text=0.0, prefill_token=0.0, steps=((1, 0.1),), rows=1, max_waiting=100)
    route(texts, [Replica(small)], 1, random.Random(4))
    answered = [text for text in texts if not math.isnan(text.done)]
    assert len(answered) == pytest.approx(500, abs=15)
    assert max(text.latency for text in answered) < 0.1 * 13


def test_autoscaler_adds_replicas_for_a_burst_and_removes_them_one_by_one():
    draw = random.Random(5)
    costs = Costs(prefill_text=0.0, prefill_token=0.0001, steps=((1, 0.01), (32, 0.02)))
    texts = list(poisson(2, 1800, draw, (400, 400), (30, 30)))
    burst = list(poisson(120, 120, draw, (400, 400), (30, 30)))
    for text in burst:
        text.at += 300
    history = autoscale(sorted(texts + burst, key=lambda text: text.at), costs, 20, 10, draw)
    counts = [count for _, count in history]
    assert max(counts) > 3
    assert counts[-1] == 2
    falls = [time for (time, count), (_, before) in zip(history[1:], history, strict=False) if count < before]
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(falls))
    assert falls[0] > 420 + 200


def test_a_light_caller_takes_at_most_twice_its_time_beside_a_heavy_one():
    result = callers(EPYC)
    for name in ("long text", "64 requests"):
        assert result["alone"]["p95"] < result[name]["p95"] < 2 * result["alone"]["p95"]
        assert result[name]["texts_per_second"] > 10 * result["alone"]["texts_per_second"]


def test_streamed_texts_have_their_first_token_sooner():
    result = first_token(EPYC, capacity(EPYC, (50, 450), (8, 64)))
    assert result["streamed"]["first_token"] < 0.3
    assert result["streamed"]["first_token"] < 0.6 * result["not streamed"]["first_token"]


@pytest.mark.parametrize(
    ("prefills", "expected"),
    [
        ([(1, 100, 0.12), (2, 300, 0.34), (4, 500, 0.58)], (0.02, 0.001)),
        ([(1, 100, 0.02), (2, 100, 0.04)], (0.02, 0.0)),
        ([(1, 100, 0.03), (1, 200, 0.02)], (0.025, 0.0)),  # the larger was faster
        ([(1, 100, 0.2), (2, 100, 0.1)], (0.0, 0.0015)),
    ],
)
def test_costs_of_prefills_are_not_negative(prefills, expected):
    assert fit_prefill_costs(prefills) == pytest.approx(expected)


def test_costs_are_measured_in_the_engine(bundle):
    costs = measure_costs(bundle, 1, batches=(1, 2, 2))
    assert costs.prefill_text >= 0
    assert costs.prefill_token >= 0
    rows = [rows for rows, _ in costs.steps]
    assert rows
    assert rows == sorted({*rows})
    assert all(seconds > 0 for _, seconds in costs.steps)
    assert costs.rows >= 2
    assert capacity(costs, (10, 20), (2, 4)) > 0
