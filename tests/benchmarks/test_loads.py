"""The load generators against a server whose speed is known."""

import asyncio

import pytest
from aiohttp import web

from benchmarks import loads

SECONDS = 0.05  # for each answer
ROOM = 4  # answers at once


def run(load, *arguments) -> dict:
    """The figures of `load` against a server that refuses more than ROOM requests at once."""

    async def both() -> dict:
        busy = 0

        async def summarize(request: web.Request) -> web.Response:
            nonlocal busy
            assert 50 <= len((await request.json())["text"].split()) <= 450
            if busy == ROOM:
                return web.json_response({}, status=429)
            busy += 1
            await asyncio.sleep(SECONDS)
            busy -= 1
            return web.json_response({})

        app = web.Application()
        app.router.add_post("/summarize", summarize)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            return await load(f"http://127.0.0.1:{port}", lambda text: {"text": text}, *arguments)
        finally:
            await runner.cleanup()

    return asyncio.run(both())


def test_closed_loop_reaches_the_capacity_of_the_server():
    result = run(loads.closed, 2, 1.0)
    assert result["statuses"].keys() == {"200"}
    assert 1 <= result["summaries_per_second"] <= 2 / SECONDS * 1.05
    assert result["p50_s"] >= SECONDS


def test_open_loop_beyond_the_capacity_is_refused():
    result = run(loads.open_loop, 400.0, 1.0)
    assert result["statuses"].keys() == {"200", "429"}
    # 400 a second for 1.2 s, the first fifth of a second not counted among the answers.
    assert 200 < sum(result["statuses"].values()) < 480
    assert result["summaries_per_second"] <= ROOM / SECONDS * 1.05
    assert result["refused_p99_ms"] > 0


@pytest.mark.parametrize("phase", [0.1, 1.0, 2.7])
def test_rate_of_answers_in_batches_does_not_depend_on_the_window(phase):
    recorder = loads.Recorder("", dict)
    recorder.done = [100 + phase + 2.8 * batch for batch in range(-3, 9) for _ in range(32)]
    assert recorder.summary(100, 15)["summaries_per_second"] == pytest.approx(32 / 2.8, rel=0.02)


@pytest.mark.parametrize("seed", [1, 2])
def test_texts_depend_on_the_seed_alone(seed):
    assert loads.texts(5, seed) == loads.texts(5, seed) != loads.texts(5, seed + 2)
