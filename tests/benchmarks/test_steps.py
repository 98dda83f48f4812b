"""The timing of one decoder step."""

from benchmarks import steps


def test_steps_are_timed_by_precision_mode_and_rows(bundle):
    recorded = []
    results = steps.measure({"fp32": bundle}, "cpu", (1, 2), (20, 4), 3, lambda rows: recorded.append(str(rows)))
    assert results.keys() == {"fp32, launched"}
    assert results["fp32, launched"].keys() == {"1", "2"}
    assert all(microseconds > 0 for microseconds in results["fp32, launched"].values())
    assert len(recorded) == 2
