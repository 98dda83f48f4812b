"""The summarizing endpoints: batches, streams, evidence, deadlines."""

import asyncio
import json
import time

import bentoml
import pytest

from bento.handlers import RequestHandler, with_heartbeats
from precis import GenerationParams
from precis.grounding.evidence import find_evidence
from tests.conftest import gazette
from tests.support.sse import events

DOCUMENTS = [row["document"] for row in gazette("validation")[:8]]


def test_batch_returns_a_summary_or_an_error_per_text_in_order(client, served_engine):
    short = [text[:300] for text in DOCUMENTS]
    texts = [*short[:3], " \n", DOCUMENTS[3] * 20, *short[4:]]
    response = client.post("/summarize_batch", json={"texts": texts, "max_new_tokens": 12, "long_text": "refuse"})
    assert response.status_code == 200
    results = response.json()["results"]
    assert len(results) == len(texts)
    generation = GenerationParams(max_new_tokens=12, long_text="refuse")
    for index, (text, result) in enumerate(zip(texts, results, strict=True)):
        if index in (3, 4):
            assert (result["error"]["type"], result["error"]["field"]) == ("invalid_field", "text")
        else:
            assert result["summary"] == served_engine.generate([text], generation)[0].text


def test_batch_of_short_texts_leaves_the_event_loop_to_others(served_engine):
    """Short texts are tokenized in the event loop: one of them at a time, not all of a batch."""
    beginnings = [(f"Day {number}. " + " ".join(DOCUMENTS)[:3900]).encode("ascii", "ignore") for number in range(32)]
    texts = [beginning.decode() for beginning in beginnings]
    options = {"texts": texts, "mode": "write", "max_new_tokens": 1, "long_text": "truncate"}

    async def tick(pauses: list[float]) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            pauses.append(now - last)
            last = now

    async def longest_share() -> float:
        """The longest pause, of processor time, as a share of all that were as long as a text."""
        pauses: list[float] = []
        ticking = asyncio.create_task(tick(pauses))
        await RequestHandler(served_engine, 300).summarize_batch(json.dumps(options).encode())
        ticking.cancel()
        longest = sorted(pauses)[-len(texts) :]
        return max(longest) / sum(longest)

    # The least of several: garbage is collected in between, too.
    assert min(asyncio.run(longest_share()) for _ in range(3)) < 1 / 8


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"texts": []}, 422, "texts"),
        ({"texts": ["x"] * 65}, 422, "texts"),
        ({"texts": "x"}, 422, "texts"),
        ({"texts": ["x", 3]}, 422, "texts"),
        ({"text": "x"}, 422, "texts"),
        ({"texts": ["x"], "min_new_tokens": 9, "max_new_tokens": 8}, 200, None),
    ],
)
def test_invalid_batch_is_refused(client, body, status, field):
    response = client.post("/summarize_batch", json=body)
    assert response.status_code == status
    if status == 422:
        assert response.json()["error"]["field"] == field
    else:
        assert response.json()["results"][0]["error"]["field"] == "min_new_tokens"


def test_batch_of_64_texts_is_accepted(client):
    response = client.post(
        "/summarize_batch", json={"texts": [text[:200] for text in DOCUMENTS] * 8, "max_new_tokens": 4}
    )
    assert [set(result) >= {"summary"} for result in response.json()["results"]] == [True] * 64


def test_stream_sends_deltas_that_join_to_the_summary_and_then_the_response(client):
    body = {"text": DOCUMENTS[0], "mode": "write", "max_new_tokens": 20, "num_beams": 1, "evidence": True}
    with client.stream("POST", "/summarize_stream", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        parsed = events(response.read().decode())
    assert [name for name, _ in parsed[:-1]] == ["delta"] * (len(parsed) - 1)
    assert len(parsed) > 5
    assert parsed[-1] == ("done", client.post("/summarize", json=body).json())
    assert "".join(data["text"] for _, data in parsed[:-1]) == parsed[-1][1]["summary"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"text": " "}, 422), ({"text": "x", "min_new_tokens": 9, "max_new_tokens": 8}, 422), ({}, 422)],
)
def test_stream_that_cannot_start_has_an_error_status(client, body, status):
    response = client.post("/summarize_stream", json=body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert response.json()["error"]["type"]


def test_stream_that_times_out_ends_with_an_error_event(client):
    body = {"text": DOCUMENTS[0], "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512}
    began = time.monotonic()
    assert events(client.post("/summarize_stream", json=body).text)[-1][0] == "done"
    limit = int(500 * (time.monotonic() - began))  # ms; half the time it took, while other tests may have run
    for _ in range(30):
        response = client.post("/summarize_stream", json={**body, "timeout_ms": limit})
        parsed = events(response.text) if response.status_code == 200 else []
        if "delta" not in dict(parsed):
            limit += limit // 4  # it had not begun
        elif parsed[-1][0] == "done":
            limit -= limit // 3
        else:
            break
    assert parsed[0][0] == "delta"
    assert parsed[-1][0] == "error"
    assert parsed[-1][1]["error"]["type"] == "timeout"


def test_timeout_answers_504_in_time(client):
    body = {"text": DOCUMENTS[0], "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512, "num_beams": 8}
    body["timeout_ms"] = 150
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        response = client.post("/summarize", json=body)
        seconds.append(time.monotonic() - began)
        assert (response.status_code, response.json()["error"]["type"]) == (504, "timeout")
    assert 0.15 <= min(seconds) < 2


def test_evidence_offsets_point_into_the_text(client):
    text = "🎉 " + DOCUMENTS[1]
    response = client.post("/summarize", json={"text": text, "evidence": True}).json()
    expected = find_evidence(text, response["summary"])
    assert expected.sentences, "the summary shares words with its text"
    assert [s["score"] for s in response["evidence"]["sentences"]] == [s.score for s in expected.sentences]
    for sentence in response["evidence"]["sentences"]:
        assert text[sentence["start"] : sentence["end"]] == sentence["text"]
    for span in response["evidence"]["unsupported"]:
        assert response["summary"][span["start"] : span["end"]] == span["text"]
        assert span["text"] not in text


def test_bentoml_client_reads_batches_and_streams(service, client):
    with bentoml.SyncHTTPClient(service.url) as opened:
        batch = opened.summarize_batch({"texts": DOCUMENTS[:2], "max_new_tokens": 9})
        stream = b"".join(
            part if isinstance(part, bytes) else part.encode()
            for part in opened.summarize_stream({"text": DOCUMENTS[0], "max_new_tokens": 9})
        )
    assert batch == client.post("/summarize_batch", json={"texts": DOCUMENTS[:2], "max_new_tokens": 9}).json()
    assert stream.count(b"event: done") == 1


def test_silence_gives_none_and_items_keep_their_order():
    closed, given = [], []

    async def items():
        try:
            yield "a"
            while given.count(None) < 2:
                await asyncio.sleep(0.01)
            yield "b"
        finally:
            closed.append(True)

    async def run():
        async for item in with_heartbeats(items(), 0.1):
            given.append(item)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert [item for item in given if item] == ["a", "b"]
    assert (given[0], given[-1]) == ("a", "b")
    assert closed == [True]


def test_closing_early_closes_the_items():
    closed = []

    async def items():
        try:
            yield "a"
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def run():
        stream = with_heartbeats(items(), 0.05)
        assert [await anext(stream), await anext(stream)] == ["a", None]
        await stream.aclose()

    asyncio.run(run())
    assert closed == [True]


@pytest.fixture
def handler(served_engine, monkeypatch):
    """A handler whose evidence fails for one text."""

    def failing(text: str, summary: str, check=None):
        if text == "fails":
            raise ZeroDivisionError("the secret text")
        return find_evidence(text, summary, check)

    monkeypatch.setattr("precis.grounding.assessment.find_evidence", failing)
    return RequestHandler(served_engine, 60.0)


def answer(response, body: dict) -> bytes:
    """The body of the handler's response to `body`, a stream's in one piece."""

    async def run() -> bytes:
        result = await response(json.dumps(body).encode())
        return result.body if hasattr(result, "body") else b"".join([part async for part in result.body_iterator])

    return asyncio.run(run())


def test_error_of_one_text_fails_neither_its_batch_nor_the_end_of_its_stream(handler):
    options = {"evidence": True, "max_new_tokens": 3}
    results = json.loads(answer(handler.summarize_batch, {"texts": ["fine", "fails", "fine"], **options}))["results"]
    assert [next(iter(result)) for result in results] == ["summary", "error", "summary"]
    assert results[1]["error"]["type"] == "internal"
    assert "secret" not in str(results)
    parsed = events(answer(handler.stream, {"text": "fails", **options}).decode())
    assert (parsed[-1][0], parsed[-1][1]["error"]["type"]) == ("error", "internal")


def test_time_limit_includes_the_evidence(handler, monkeypatch):
    def endless(text: str, summary: str, check) -> None:
        while True:
            check()
            time.sleep(0.01)

    monkeypatch.setattr("precis.grounding.assessment.find_evidence", endless)
    body = {"text": DOCUMENTS[0] * 3, "evidence": True, "max_new_tokens": 2, "long_text": "truncate"}
    answered = json.loads(answer(handler.summarize, {**body, "timeout_ms": 1500}))
    assert answered["error"]["type"] == "timeout"
