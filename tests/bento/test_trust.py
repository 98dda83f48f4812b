"""Answers below the least trust: what a request gets instead, with a certificate whose trust is known."""

import asyncio
import csv
import json
import shutil
from dataclasses import replace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bento.handlers import RequestHandler
from precis import Engine
from precis.bundle.reports import TrustCertificate
from precis.cli import main
from precis.params import GenerationParams
from tests.conftest import gazette
from tests.support.bulk import lines
from tests.support.engines import seal

TEXT = gazette("validation")[3]["document"][:400]
DOCUMENTS = [row["document"][:300] for row in gazette("validation")[3:9]] + ["The pool is closed."]
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


def summarize(handler: RequestHandler, text: str = TEXT, **body) -> dict:
    return json.loads(answer(handler.summarize, text=text, **body))


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
    assert ("mode extract" if "mode" in body else "bundle's own parameters") in error["message"]


def test_without_a_certificate_min_trust_is_refused(engine, monkeypatch):
    served = handler(engine, monkeypatch, None)
    assert "trust" not in summarize(served)
    error = summarize(served, min_trust=0.5)["error"]
    assert error["message"] == "min_trust needs a certificate of trust for mode write, which this bundle has not."


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


@pytest.fixture(scope="module")
def certified(bundle, engine, tmp_path_factory):
    """The base with a certificate by which half of the documents' summaries, by their scores, have the trust 0.8."""
    scores = [summary.score for summary in engine.generate(DOCUMENTS) if summary.score is not None]
    folder = shutil.copytree(bundle, tmp_path_factory.mktemp("certified") / "bundle")
    own = certificate(max_risk=0.5).model_copy(update={"weights": dict.fromkeys(NAMES, 0.0) | {"score": -1.0}})
    seal(folder, trust=own.model_copy(update={"bias": sorted(scores)[len(scores) // 2]}).model_dump())
    with Engine.load(folder, threads=1) as loaded:
        yield folder, RequestHandler(loaded, 60.0)


def added(response: dict) -> dict:
    """The columns of a bulk run that a response has."""
    evidence, scores = response["evidence"], {name: response[name] for name in ("score", "min_token_score")}
    grounding = {name: evidence["grounding"][name] for name in ("verbatim", "copied_share", "seams", "novel")}
    return {
        **{name: response[name] for name in ("summary", "output_tokens", "already_short", "finish_reason")},
        **{name: None if score is None else round(score, 4) for name, score in scores.items()},
        "trust": response.get("trust"),
        "below_trust": "fallback" in response,
        "extracted": response.get("extracted", []),
        **grounding,
        "unsupported": evidence["unsupported"],
    }


def read_rows(path) -> list[dict]:
    """The rows of a file in JSON's types."""
    if path.suffix == ".jsonl":
        return lines(path)
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return [{name: plain(value) for name, value in row.items()} for row in csv.DictReader(file)]


def plain(value: str):
    """A value of a CSV file as JSON has it, if it has it; an empty one is a null."""
    try:
        return json.loads(value) if value else None
    except ValueError:
        return value


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_bulk_columns_are_the_answers_of_the_api(certified, tmp_path, suffix):
    folder, served = certified
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    frame = pd.DataFrame({"document": DOCUMENTS})
    write = {".csv": frame.to_csv, ".parquet": frame.to_parquet}.get(suffix)
    write(source, index=False) if write else frame.to_json(source, orient="records", lines=True)
    options = {"evidence": True, "min_trust": 0.5}
    expected = [added(summarize(served, text, **options)) for text in DOCUMENTS]
    assert {row["below_trust"] for row in expected} == {True, False}
    assert {row["trust"] for row in expected} >= {0.8, None}
    assert main(["bulk", str(source), str(out), "--bundle", str(folder), "--evidence", "--min-trust", "0.5"]) == 0
    assert [{name: row[name] for name in expected[0]} for row in read_rows(out)] == expected


def test_bulk_rejects_rows_below_the_least_trust(certified, tmp_path):
    folder, served = certified
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"document": text}) + "\n" for text in DOCUMENTS))
    answers = [summarize(served, text, min_trust=0.5, below_trust="refuse") for text in DOCUMENTS]
    arguments = ["bulk", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--bundle", str(folder)]
    assert main([*arguments, "--min-trust", "0.5", "--below-trust", "refuse"]) == 0
    written = [row["summary"] for row in lines(tmp_path / "out.jsonl")]
    assert written == [answer["summary"] for answer in answers if "error" not in answer]
    rejects = [reject["reason"] for reject in lines(tmp_path / "out.jsonl.rejects.jsonl")]
    assert rejects == [answer["error"]["message"] for answer in answers if "error" in answer]
    assert written
    assert rejects


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-trust", "0.5", "--num-beams", "3"], "min_trust holds for mode write with the bundle's own parameters"),
        (["--min-trust", "0.5", "--mode", "extract"], "min_trust needs a certificate of trust for mode extract"),
        (["--min-trust", "2"], "min_trust should be a number from 0 to 1."),
    ],
)
def test_bulk_refuses_a_least_trust_that_nothing_states(certified, tmp_path, capsys, options, message):
    (tmp_path / "in.jsonl").write_text(json.dumps({"document": TEXT}) + "\n")
    out = tmp_path / "out.jsonl"
    assert main(["bulk", str(tmp_path / "in.jsonl"), str(out), "--bundle", str(certified[0]), *options]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob(".*partial"))
