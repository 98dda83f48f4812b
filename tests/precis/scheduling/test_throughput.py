"""The throughput estimate."""

import pytest

from precis.scheduling import throughput as module
from precis.scheduling.throughput import ThroughputEstimate


@pytest.fixture
def clock(monkeypatch):
    """The time in a list, to be set."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_expected_wait_follows_the_measured_rate():
    throughput = ThroughputEstimate()
    for _ in range(100):
        throughput.add(500, 1.0)
    assert throughput.per_second == pytest.approx(500, rel=0.05)
    assert throughput.seconds_for(5000) == pytest.approx(10, rel=0.05)
    for _ in range(100):
        throughput.add(5000, 1.0)
    assert throughput.seconds_for(50_000) == pytest.approx(10, rel=0.05)


def test_estimate_begins_as_assumed_and_returns_to_that(clock):
    throughput = ThroughputEstimate(1000, 0.1)
    assert throughput.per_second == 10_000
    throughput.add(1, 0.001)  # too little to say much
    assert throughput.per_second > 9_000
    throughput.add(100, 10.0)
    assert throughput.per_second == pytest.approx(10, rel=0.1)
    clock[0] += 60
    assert throughput.per_second == pytest.approx(10, rel=0.1), "a minute without work changes little"
    clock[0] += 1200
    assert throughput.per_second > 9_000


def test_best_rate_is_assumed_from_then_on(clock):
    throughput = ThroughputEstimate(1000, 10.0)
    throughput.assume_best()
    assert throughput.per_second == 100, "nothing is measured"
    for units, seconds in ((0, 0.0), (1, 0.1), (2, 0.1), (1, 0.5)):
        throughput.add(units, seconds)
    throughput.assume_best()
    clock[0] += 3600
    assert throughput.per_second == pytest.approx(20)
