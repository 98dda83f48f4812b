"""Answers below the least trust: what a request gets instead, with a certificate whose trust is known."""

import asyncio
import json
from dataclasses import replace

import pytest

from bento.handlers import RequestHandler
from precis.bundle.reports import TrustCertificate
from precis.params import GenerationParams
from tests.conftest import gazette

TEXT = gazette("validation")[3]["document"][:400]
NAMES = ("score", "min_token_score", "seams", "novel", "unsupported")


def certificate(max_risk: float = 1.0) -> TrustCertificate:
    """Every summary has the risk 0.5; where the threshold admits it, at most a fifth are wrong."""
    level = {"alpha": 0.2, "max_risk": max_risk, "released": 1.0, "wrong": 0.1}
    numbers = {"confidence": 0.9, "fitted_pairs": 30, "calibration_pairs": 60, "wrong": 0.1, "bias": 0.0}
    words = {"mode": "write", "check": "wrong: ...", "method": "Learn-then-Test"}
    weights = dict.fromkeys(NAMES, 0.0)
    return TrustCertificate(**numbers, **words, weights=weights, levels=[level], curve=[(1.0, 0.1)])


def handler(engine, monkeypatch, trust: TrustCertificate | None, min_trust: float | None = None) -> RequestHandler:
    """A handler on the engine, whose bundle has the certificate."""
    manifest = engine.bundle.manifest.model_copy(update={"trust": trust})
    monkeypatch.setattr(engine, "bundle", replace(engine.bundle, manifest=manifest))
    return RequestHandler(engine, 60.0, min_trust)


def answer(response, **body) -> bytes:
    """The body of the handler's response, a stream's in one piece."""

    async def run() -> bytes:
        result = await response(json.dumps(body).encode())
        return result.body if hasattr(result, "body") else b"".join([part async for part in result.body_iterator])

    return asyncio.run(run())


def summarize(handler: RequestHandler, **body) -> dict:
    return json.loads(answer(handler.summarize, text=TEXT, **body))


def test_a_covered_summary_has_the_trust_of_its_level(engine, monkeypatch):
    served = handler(engine, monkeypatch, certificate())
    response = summarize(served)
    assert (response["trust"], response.get("fallback"), "evidence" in response) == (0.8, None, False)
    assert summarize(served, evidence=True)["trust"] == 0.8
    assert summarize(served, min_trust=0.8)["summary"] == response["summary"]
    assert summarize(handler(engine, monkeypatch, certificate(max_risk=0.4)))["trust"] == 0.0


@pytest.mark.parametrize("body", [{"num_beams": 3}, {"mode": "extract"}, {"long_text": "truncate"}])
def test_what_the_certificate_does_not_cover_has_no_trust(engine, monkeypatch, body):
    served = handler(engine, monkeypatch, certificate(), min_trust=0.9)
    response = summarize(served, **body)
    assert ("trust" in response, "fallback" in response) == (False, False)
    error = summarize(served, min_trust=0.5, **body)["error"]
    assert (error["type"], error["field"]) == ("invalid_field", "min_trust")
    assert "bundle's own parameters" in error["message"]


def test_without_a_certificate_min_trust_is_refused(engine, monkeypatch):
    served = handler(engine, monkeypatch, None)
    assert "trust" not in summarize(served)
    error = summarize(served, min_trust=0.5)["error"]
    assert error["message"] == "min_trust needs a certificate of trust, and this model's bundle has none."


def test_below_the_least_trust_the_best_sentence_of_the_text_is_answered(engine, monkeypatch):
    expected = engine.generate([TEXT], GenerationParams(mode="extract", sentences=1))[0]
    by_request = summarize(handler(engine, monkeypatch, certificate()), min_trust=0.81, evidence=True)
    by_setting = summarize(handler(engine, monkeypatch, certificate(), min_trust=0.81), evidence=True)
    assert by_request == by_setting
    assert (by_request["summary"], by_request["fallback"], by_request["score"]) == (expected.text, "extract", None)
    assert by_request["evidence"]["grounding"]["verbatim"]
    assert "trust" not in by_request
    assert "fallback" not in summarize(handler(engine, monkeypatch, certificate(), min_trust=0.81), min_trust=0.5)


def test_below_the_least_trust_a_request_can_ask_for_a_refusal(engine, monkeypatch):
    served = handler(engine, monkeypatch, certificate())
    refused = {"type": "below_trust", "message": "The summary has a trust of 0.8, and min_trust is 0.9."}
    error = summarize(served, min_trust=0.9, below_trust="refuse")["error"]
    assert error == {**refused, "field": "min_trust"}
    options = {"min_trust": 0.9, "below_trust": "refuse"}
    results = json.loads(answer(served.summarize_batch, texts=[TEXT, "The pool is closed."], **options))["results"]
    assert results[0]["error"] == error
    assert results[1]["already_short"]


def test_a_stream_holds_a_summary_back_until_its_trust_is_known(engine, monkeypatch):
    served = handler(engine, monkeypatch, certificate())
    expected = summarize(served, min_trust=0.9)
    stream = answer(served.stream, text=TEXT, min_trust=0.9).decode()
    events = [block.split("\n") for block in stream.split("\n\n") if block.startswith("event")]
    deltas = [json.loads(data[6:])["text"] for name, data in events if name == "event: delta"]
    assert deltas == [expected["summary"]]
    assert json.loads(events[-1][1][6:]) == expected
