"""The service against its own OpenAPI description: requests that fit it and others, drawn by schemathesis."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from benchmarks.server import START, Server
from bento.openapi import describe
from tests.conftest import ROOT

OPERATIONS = [result.ok() for result in schemathesis.openapi.from_dict(describe(False)).get_all_operations()]
NAMES = [operation.label for operation in OPERATIONS]
PATIENT = 20_000  # ms; a shorter deadline is met with 504, as it should be


@pytest.fixture(scope="module")
def tiny_service(tiny_run, tmp_path_factory):
    running = Server(
        START,
        ROOT,
        tiny_run / "bundle",
        tmp_path_factory.mktemp("tiny-service"),
        {"PRECIS_PAGE": "false", "PRECIS_STREAMS_PER_CLIENT": "64"},
    )
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def hold_to(operation, url: str, examples: int) -> int:
    """Sends `examples` requests, asserts on each answer, and returns how many were sent."""
    modes = [GenerationMode.POSITIVE]
    if operation.method == "post":
        modes.append(GenerationMode.NEGATIVE)
    sent = 0

    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def each(case) -> None:
        nonlocal sent
        asked = case.body.get("timeout_ms") if isinstance(case.body, dict) else None
        if type(asked) is int and 1 <= asked < PATIENT:
            case.body["timeout_ms"] = PATIENT
        sent += 1
        answer = case.call(base_url=url, timeout=60)
        assert answer.status_code < 500
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert {"type", "message"} <= error.keys() <= {"type", "message", "field"}
            assert answer.json().keys() == {"error"}
        # A text of blanks and limits that clash fit the description and are refused all the same.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    each()
    return sent


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_some_requests_meet_the_description(operation, tiny_service):
    assert hold_to(operation, tiny_service.url, 25 if operation.method == "post" else 3)


@pytest.mark.slow
def test_two_thousand_requests_meet_the_description(tiny_service):
    counts = [(operation, 700 if operation.method == "post" else 20) for operation in OPERATIONS]
    sent = sum(hold_to(operation, tiny_service.url, count) for operation, count in counts)
    assert sent >= 2000
    assert httpx.get(tiny_service.url + "/readyz").status_code == 200
    assert "Traceback" not in tiny_service.log.read_text()
