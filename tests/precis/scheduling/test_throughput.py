"""The throughput estimate."""

import pytest

from precis.scheduling.throughput import ThroughputEstimate


def test_expected_wait_follows_the_measured_rate():
    throughput = ThroughputEstimate()
    for _ in range(100):
        throughput.add(500, 1.0)
    assert throughput.tokens_per_second == pytest.approx(500, rel=0.05)
    assert throughput.seconds_for(5000) == pytest.approx(10, rel=0.05)
    assert throughput.seconds_for(1) == 1.0
    for _ in range(100):
        throughput.add(5000, 1.0)
    assert throughput.seconds_for(50_000) == pytest.approx(10, rel=0.05)
