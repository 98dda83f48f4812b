"""More work than the service can do: it refuses in time, and one caller keeps no other out."""

import asyncio
import json
import statistics
import time

import httpx

from tests.support.faults import AUTHORIZED, KEY, LONG, TEXT, livez_within_a_second, metric, send_raw, until


def test_overload_is_refused_at_once_and_accepted_requests_finish(limited):
    async def everything() -> list[tuple[httpx.Response, float]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=limited.url, headers=AUTHORIZED, timeout=150, limits=limits) as client:

            async def one(delay: float) -> tuple[httpx.Response, float]:
                await asyncio.sleep(delay)
                began = time.monotonic()
                response = await client.post("/summarize", json={**LONG, "max_new_tokens": 100, "min_new_tokens": 100})
                return response, time.monotonic() - began

            return await asyncio.gather(*(one(0.01 * number) for number in range(60)))

    results = asyncio.run(everything())
    refused = [(response, seconds) for response, seconds in results if response.status_code == 429]
    assert {response.status_code for response, _ in results} == {200, 429}
    assert len(results) - len(refused) > 3, (
        "as many as the queue holds; how many more join the batch depends on its speed"
    )
    for response, _ in refused:
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["type"] == "full"
    done = statistics.median(seconds for response, seconds in results if response.status_code == 200)
    assert statistics.median(seconds for _, seconds in refused) < done / 5


def test_work_that_cannot_be_done_in_time_is_refused(limited, client):
    """Of many requests with eight beams only those are accepted that are finished in time; the others know at once."""
    body = {**LONG, "num_beams": 8, "no_repeat_ngram_size": 0, "timeout_ms": 11_000}
    for _ in range(3):  # the costs are measured
        client.post("/summarize", json={**LONG, "num_beams": 8, "max_new_tokens": 100, "min_new_tokens": 100})

    async def everything() -> list[tuple[int, float, str | None]]:
        async with httpx.AsyncClient(base_url=limited.url, headers=AUTHORIZED, timeout=150) as http:

            async def one() -> tuple[int, float, str | None]:
                began = time.monotonic()
                response = await http.post("/summarize", json=body)
                return response.status_code, time.monotonic() - began, response.headers.get("retry-after")

            return await asyncio.gather(*(one() for _ in range(40)))

    answers = asyncio.run(everything())
    refused = [(seconds, retry) for status, seconds, retry in answers if status in (429, 422)]
    assert {status for status, _, _ in answers} <= {200, 422, 429, 504}
    assert len(refused) > 8
    assert statistics.median(seconds for seconds, _ in refused) < 11 / 2
    assert all(retry is None or 1 <= int(retry) <= 11 for _, retry in refused)


def test_long_text_keeps_nobody_out(limited, client):
    body = json.dumps({"text": TEXT * 150, "mode": "write", "max_new_tokens": 20}).encode()
    long = send_raw(limited, body)
    until(lambda: metric(client, "rows_running") > 0)
    with livez_within_a_second(limited):
        answers = [client.post("/summarize", json={"text": "A council met.", "max_new_tokens": 3}) for _ in range(3)]
    assert [response.status_code for response in answers] == [200] * 3
    assert metric(client, "queue_tokens") > 0, "it still runs"
    long.close()


def test_texts_of_one_caller_keep_no_other_caller_from_the_tokenizer(limited, client):
    """Texts that take a second each wait for a thread; that of another caller takes its turn."""
    other = "a-key-for-somebody-else"
    (limited.home / "keys").write_text(f"{KEY}\n{other}\n")
    slow = json.dumps({"text": "\ufdfa" * 20_000, "long_text": "truncate", "max_new_tokens": 1}).encode()
    waiting = [send_raw(limited, slow) for _ in range(30)]
    until(lambda: metric(client, "requests_in_flight") >= 30)
    with livez_within_a_second(limited):
        body = {"text": TEXT * 4, "long_text": "truncate", "max_new_tokens": 1}
        response = httpx.post(limited.url + "/summarize", json=body, headers={"X-API-Key": other}, timeout=150)
    assert response.status_code == 200
    assert metric(client, "requests_in_flight") > 15, "the others still wait"
    for connection in waiting:
        connection.close()


def test_streams_per_client_are_limited(limited, client):
    body = json.dumps({**LONG, "num_beams": 4}).encode()  # both fill the eight rows
    streams = [send_raw(limited, body, "/summarize_stream") for _ in range(2)]
    until(lambda: metric(client, "streams_open") == 2)
    response = client.post("/summarize_stream", json=LONG)
    assert (response.status_code, response.json()["error"]["type"]) == (429, "too_many_streams")
    assert int(response.headers["retry-after"]) >= 1
    streams[0].close()
    until(lambda: metric(client, "streams_open") == 1)
    assert client.post("/summarize_stream", json={"text": "x", "max_new_tokens": 1}).status_code == 200
    streams[1].close()
