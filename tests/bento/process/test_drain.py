"""How a service ends: SIGTERM drains it, a crashed worker is replaced, a broken bundle ends it with a sentence."""

import asyncio
import json
import os
import shutil
import signal
import socket
import time

import httpx
import pytest

from benchmarks.server import BENTOML, START, Server
from tests.conftest import ROOT, gazette
from tests.support.faults import metric, until

TEXT = gazette("validation")[0]["document"]
BODY = {"text": TEXT, "max_new_tokens": 60, "min_new_tokens": 60}


def served(bundle, home, command: list[str] = START, **variables: str) -> Server:
    running = Server(command, ROOT, bundle, home, {"PRECIS_PAGE": "false", **variables})
    running.wait_until_ready()
    return running


async def load(url: str, clients: int, act, expected: str, crash: bool) -> tuple[list[int], int]:
    """Clients that repeat a request until it is refused, its connection breaks or, after a crash, it is answered.

    `act` is called when some were answered. Returns the statuses and the number of broken connections; every 200 must
    have the `expected` summary.
    """
    statuses, broken, acted = [], 0, False

    async def one() -> None:
        nonlocal broken
        async with httpx.AsyncClient(base_url=url, timeout=150, verify=False) as client:
            while True:
                try:
                    response = await client.post("/summarize", json=BODY)
                except httpx.TransportError:
                    broken += 1
                    return
                statuses.append(response.status_code)
                assert response.status_code in (200, 503)
                if response.status_code == 503:
                    assert int(response.headers["retry-after"]) >= 1
                    assert response.json()["error"]["type"] == "stopping"
                    return
                assert response.json()["summary"] == expected
                if crash and acted:  # the next worker has answered this client
                    return

    async def soon() -> None:
        nonlocal acted
        while len(statuses) < clients:
            await asyncio.sleep(0.05)
        act()
        acted = True

    await asyncio.wait_for(asyncio.gather(soon(), *(one() for _ in range(clients))), 300)
    return statuses, broken


@pytest.fixture
def expected(embedded):
    from precis import Engine, GenerationParams

    engine = Engine.load(embedded / "bundle")
    summary = engine.generate([TEXT], GenerationParams(max_new_tokens=60, min_new_tokens=60))[0].text
    engine.close()
    return summary


def test_killed_worker_is_replaced_and_sigterm_loses_no_request_under_load(embedded, expected, tmp_path):
    running = served(embedded / "bundle", tmp_path, PRECIS_LINGER_SECONDS="8")
    try:
        killed = running.worker
        statuses, broken = asyncio.run(load(running.url, 8, killed.kill, expected, True))
        assert broken > 0
        assert set(statuses) == {200}
        began = time.monotonic()
        running.wait_until_ready(120)
        assert running.worker.pid != killed.pid
        print(f"a killed worker was replaced by one that answers within {time.monotonic() - began:.1f} s")
        warnings = [json.loads(line) for line in running.log.read_text().splitlines() if "SIGKILL" in line]
        assert [line["message"] for line in warnings] == ["The worker was ended by SIGKILL; another is started."]

        # On SIGTERM running requests are answered, new ones get 503, and no connection breaks.
        statuses, broken = asyncio.run(load(running.url, 8, running.process.terminate, expected, False))
        assert (statuses.count(503), broken) == (8, 0)
        assert httpx.get(running.url + "/readyz").status_code == 503
        assert httpx.get(running.url + "/livez").status_code == 200
        assert running.process.wait(120) == 0
    finally:
        running.stop()


def test_requests_that_outlast_the_grace_period_get_503(embedded, tmp_path):
    # An hour's time limit, so that no machine is too slow to accept the work.
    limits = {"PRECIS_LINGER_SECONDS": "0", "PRECIS_GRACE_SECONDS": "0.5", "PRECIS_TIMEOUT_SECONDS": "3600"}
    running = served(embedded / "bundle", tmp_path, **limits)
    try:
        long = {"text": TEXT, "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512, "num_beams": 8}
        # A body that trickles in must not hold the server up either.
        slow = socket.create_connection(("127.0.0.1", running.port))
        slow.sendall(b"POST /summarize HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")

        async def ask() -> tuple[list[httpx.Response], float]:
            async with httpx.AsyncClient(base_url=running.url, timeout=150) as client:
                paths = ["/summarize"] * 8 + ["/summarize_stream"] * 2
                asked = [asyncio.create_task(client.post(path, json=long)) for path in paths]
                await asyncio.to_thread(until, lambda: metric(probe, "requests_in_flight") >= len(paths))
                running.process.terminate()
                began = time.monotonic()
                return await asyncio.gather(*asked), time.monotonic() - began

        with httpx.Client(base_url=running.url, timeout=60) as probe:
            responses, seconds = asyncio.run(ask())
        for response in responses[:8]:
            assert (response.status_code, response.json()["error"]["type"]) == (503, "stopping")
            assert int(response.headers["retry-after"]) >= 1
        for response in responses[8:]:
            if response.status_code == 200:
                assert '"type": "stopping"' in response.text.split("event: error")[1]
            else:
                assert response.status_code == 503
        assert seconds < 30, "it takes longer to write them"
        assert running.process.wait(120) == 0
        assert b"503" in slow.recv(4096)
    finally:
        running.stop()


@pytest.mark.parametrize("command", [START, [BENTOML, "serve", "bento.service:Summarizer"]], ids=["ours", "bentoml"])
def test_bundle_altered_after_the_start_ends_the_service_with_a_sentence(tiny_run, tmp_path, command):
    bundle = shutil.copytree(tiny_run / "bundle", tmp_path / "bundle")
    running = served(bundle, tmp_path, command)
    try:
        with (bundle / "config.json").open("a") as file:
            file.write(" ")
        running.worker.kill()  # the next one loads what is there now
        assert running.process.wait(120) == 1
        log = running.log.read_text()
        assert "Not started: " in log
        assert "config.json is not the file the manifest describes" in log
        assert "Traceback" not in log
    finally:
        running.stop()


def test_second_sigterm_changes_nothing(tiny_run, tmp_path):
    running = served(tiny_run / "bundle", tmp_path, PRECIS_LINGER_SECONDS="8")
    try:
        os.killpg(running.process.pid, signal.SIGTERM)  # to supervisor and worker
        until(lambda: httpx.get(running.url + "/readyz").status_code == 503)
        assert json.loads(httpx.post(running.url + "/summarize", json=BODY).text)["error"]["type"] == "stopping"
        assert running.process.wait(120) == 0
    finally:
        running.stop()
