"""Bodies and texts that are too large, malformed, in another encoding or made to be slow."""

import gzip
import json
import socket

import pytest

from tests.support.faults import KEY, livez_within_a_second


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_60_megabytes_gets_413_without_being_stored(limited, chunked):
    block = b"a" * 65536
    head = f"POST /summarize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {60 << 20}\r\n\r\n"
    before = limited.worker.memory_info().rss
    with socket.create_connection(("127.0.0.1", limited.port), timeout=30) as connection:
        connection.sendall(head.encode())
        for _ in range((60 << 20) // len(block)):
            connection.sendall(b"10000\r\n" + block + b"\r\n" if chunked else block)
        response = connection.recv(4096)
    assert b" 413 " in response.split(b"\r\n")[0]
    assert b'"type":"too_large"' in response
    assert limited.worker.memory_info().rss - before < 30 << 20


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b'{"long_text": "truncate", "text": "' + b"a" * 100_000 + b'"}', {200}),
        (json.dumps({"text": "👩‍👩‍👧🎉" * 100}).encode(), {200}),
        (json.dumps({"text": "وافق المجلس على إصلاح الجسر القديم قبل الشتاء. " * 10}).encode(), {200}),
        (json.dumps({"text": "\u202e\u0000\ufffe x"}).encode(), {200}),
        (b'{"text": "\xff\xfe\xfa"}', {400}),
        (b"[" * 100_000, {400}),
        (b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", {400, 422}),
        (b'{"text": "x", "deep": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", {400, 422}),
        (json.dumps({"text": " \n\u00a0\u2003" * 1000}).encode(), {422}),
        (b'{"text": "x", "max_new_tokens": 1' + b"0" * 5000 + b"}", {400, 422}),
        (b'{"text": "x", "text": 3}', {422}),
        (b"", {400}),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_unusual_texts_are_summarized_or_refused(client, body, statuses):
    for path in ("/summarize", "/summarize_stream"):
        response = client.post(path, content=body, headers={"Content-Type": "text/plain"})
        assert response.status_code in statuses
        if response.status_code >= 400:
            assert {"type", "message"} <= response.json()["error"].keys()


def test_body_that_is_compressed_or_in_another_encoding_is_refused_with_the_reason(client):
    packed = client.post("/summarize", content=gzip.compress(b'{"text": "x"}'), headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["error"]["type"]) == (415, "unsupported_encoding")
    for encoding in ("utf-16", "latin-1"):
        response = client.post("/summarize", content='{"text": "Brücke"}'.encode(encoding))
        assert response.status_code == 400
        assert "UTF-8" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("a" + "\u0301" * 16_000 + "\u0316" * 16_000, 200),
        ("\ufdfa" * 80_000, 422),
        ("a. " * 40_000, 200),
        ("hundred " * 2200, 200),
    ],
    ids=["combining marks", "characters of many tokens", "many sentences", "number words"],
)
def test_hostile_texts_leave_the_event_loop_to_others(limited, client, text, status):
    body = {"text": text, "evidence": True, "long_text": "truncate", "max_new_tokens": 20}
    before = limited.worker.memory_info().rss
    with livez_within_a_second(limited):
        assert client.post("/summarize", json=body).status_code == status
    body.pop("text")
    results = client.post("/summarize_batch", json={**body, "texts": ["fine.", text]}).json()["results"]
    assert ["summary" in result for result in results] == [True, status == 200]
    if status == 200:
        stream = client.post("/summarize_stream", json={**body, "text": text}).text
        assert stream.rstrip().rpartition("event: ")[2].startswith("done")
    assert limited.worker.memory_info().rss - before < 200 << 20


@pytest.mark.slow
def test_word_of_100_000_letters_is_summarized_in_chunks(client):
    # Without passthrough: the word is in no language that the model knows.
    body = {"text": "a" * 100_000, "mode": "write", "passthrough": False, "max_new_tokens": 4}
    response = client.post("/summarize", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["chunks"] > 100
    assert not response.json()["truncated"]
