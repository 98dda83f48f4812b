"""The ratios of the service benchmark."""

from benchmarks.service import ratios


def test_ratios_need_only_the_parts_that_were_measured():
    row = {"summaries_per_second": 10.0, "p99_s": 2.0}
    result = {"closed": {"1 clients": {"summaries_per_second": 4.0, "p99_s": 0.5}, "128 clients": row}}
    assert ratios({}) == ratios(result) == {}
    result |= {"engine_alone": 10.5, "plain": {"1 clients": row, "128 clients": {**row, "summaries_per_second": 2.5}}}
    result["open"] = {
        "2 x capacity": {"summaries_per_second": 10.4},  # the peak of all loads
        "10 x capacity": {"summaries_per_second": 9.5, "p99_s": 3.0, "refused_p99_ms": 20.0},
    }
    assert ratios(result) == {
        "saturation_to_engine_alone": 0.99,
        "overload_goodput_to_peak": 0.913,
        "overload_p99_to_saturation": 1.5,
        "overload_refused_p99_ms": 20.0,
        "throughput_to_plain": 1.04,
        "p99_of_plain": {"1 clients": 0.25, "128 clients": 1.0},
    }
