"""The benchmarks' own parts: the load generator against a server whose speed is known, the engine and its clock."""

import asyncio
import time

import pytest
from aiohttp import web

from benchmarks import loads
from benchmarks.peers import Precis
from benchmarks.service import ratios

SECONDS = 0.05  # for each answer
ROOM = 4  # answers at once


def run(load, *arguments) -> dict:
    """What `load` tells of a server that refuses what it has no room for."""

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


def test_clients_that_wait_get_what_the_server_can():
    told = run(loads.closed, 2, 1.0)
    assert told["statuses"].keys() == {"200"}
    assert 1 <= told["summaries_per_second"] <= 2 / SECONDS * 1.05
    assert told["p50_s"] >= SECONDS


def test_arrivals_that_do_not_wait_are_refused_beyond_it():
    told = run(loads.open_loop, 400.0, 1.0)
    assert told["statuses"].keys() == {"200", "429"}
    # 400 a second for 1.2 s, the first fifth of a second not counted among the answers.
    assert 200 < sum(told["statuses"].values()) < 480
    assert told["summaries_per_second"] <= ROOM / SECONDS * 1.05
    assert told["refused_p99_ms"] > 0


@pytest.mark.parametrize("phase", [0.1, 1.0, 2.7])
def test_the_rate_of_answers_in_lots_is_told_whatever_the_window_holds_of_them(phase):
    calls = loads.Calls("", dict)
    calls.done = [100 + phase + 2.8 * lot for lot in range(-3, 9) for _ in range(32)]
    assert calls.told(100, 15)["summaries_per_second"] == pytest.approx(32 / 2.8, rel=0.02)


def test_ratios_need_no_more_than_the_parts_that_are_there():
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


@pytest.mark.parametrize("seed", [1, 2])
def test_texts_are_the_same_each_time(seed):
    assert loads.texts(5, seed) == loads.texts(5, seed) != loads.texts(5, seed + 2)


def test_the_time_inside_onnx_runtime_is_part_of_a_run(bundle):
    began = time.perf_counter()
    system = Precis(bundle, 1)
    assert system.run([[3, 10, 11, 12, 1], [3, 13, 1]], new=5, beams=1) == [5, 5]
    assert 0 < system.inside() < time.perf_counter() - began
    system.engine.close()
