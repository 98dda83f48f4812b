"""Extraction over HTTP: one text, a batch and a stream give the engine's sentences; bounds."""

import json

import pytest

from precis import Engine, GenerationParams
from tests.conftest import gazette
from tests.support.sse import events

DOCUMENTS = [row["document"] for row in gazette("validation")[:3]]
OPTIONS = {"mode": "extract", "sentences": 2}


@pytest.fixture(scope="module")
def expected(served_bundle) -> list[dict]:
    """The engine's own summaries and places."""
    with Engine.load(served_bundle) as engine:
        summaries = engine.generate(DOCUMENTS, GenerationParams(**OPTIONS))
    return [
        {
            "summary": summary.text,
            "extracted": [{"start": item.start, "end": item.end, "score": item.score} for item in summary.extracted],
            "output_tokens": summary.output_tokens,
            "finish_reason": "end",
        }
        for summary in summaries
    ]


def test_answer_holds_the_sentences_with_their_places(client, expected):
    for text, answer in zip(DOCUMENTS, expected, strict=True):
        response = client.post("/summarize", json={"text": text, **OPTIONS, "evidence": True}).json()
        assert answer.items() <= response.items()
        sentences = [text[item["start"] : item["end"]] for item in response["extracted"]]
        assert len(sentences) == 2
        assert response["summary"] == " ".join(" ".join(sentence.split()) for sentence in sentences)
        assert response["evidence"]["unsupported"] == []


def test_batch_has_an_answer_or_an_error_for_each_text(client, expected):
    texts = [DOCUMENTS[0], " ", DOCUMENTS[1]]
    first, blank, second = client.post("/summarize_batch", json={"texts": texts, **OPTIONS}).json()["results"]
    assert expected[0].items() <= first.items()
    assert blank["error"]["field"] == "text"
    assert expected[1].items() <= second.items()


def test_stream_is_one_delta_and_the_answer(client, expected):
    response = client.post("/summarize_stream", json={"text": DOCUMENTS[0], **OPTIONS})
    (delta, text), (done, answer) = events(response.text)
    assert (delta, done) == ("delta", "done")
    assert text == {"text": expected[0]["summary"]}
    assert expected[0].items() <= answer.items()


def test_a_written_summary_has_no_sentences(client):
    response = client.post("/summarize", json={"text": DOCUMENTS[0], "mode": "write", "max_new_tokens": 8})
    assert "extracted" not in response.json()


@pytest.mark.parametrize(
    ("field", "value"), [("mode", "both"), ("mode", 1), ("sentences", 0), ("sentences", 6), ("sentences", 1.5)]
)
def test_values_out_of_bounds_are_refused(client, field, value):
    body = json.dumps({"text": DOCUMENTS[0], field: value})
    response = client.post("/summarize", content=body)
    assert (response.status_code, response.json()["error"]["field"]) == (422, field)
