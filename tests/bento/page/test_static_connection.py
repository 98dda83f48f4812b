"""What the page says while an event is sent, waits or fails (static/connection.js), in headless Chromium."""

import json
import os
import signal

import httpx
import pytest
from playwright.sync_api import expect

import benchmarks.server
from benchmarks.server import START, Server
from bento.page import limits
from tests.bento.page.test_app import start_long
from tests.conftest import ROOT, gazette

DOCUMENT = gazette("validation")[2]["document"]

pytestmark = pytest.mark.usefixtures("browser")


@pytest.fixture
def own_service(served_bundle, tmp_path):
    """A service that a test may load, stop and start again: `start()` uses the same port."""
    with pytest.MonkeyPatch.context() as patch:
        servers = []

        def start() -> Server:
            if servers:
                patch.setattr(benchmarks.server, "free_port", lambda: servers[0].port)
            servers.append(Server(START, ROOT, served_bundle, tmp_path))
            servers[-1].wait_until_ready()
            return servers[-1]

        yield start
        for server in servers:
            server.stop()


def test_press_is_answered_before_the_server_is(visit):
    page = visit()
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.text.fill(DOCUMENT)
    page.go.click()
    expect(page.notice).to_have_text("Sending…")
    held[0].continue_()
    expect(page.status).to_contain_text("words from")
    expect(page.notice).to_be_hidden()


def test_refusal_of_the_server_is_reported_in_place(visit):
    page = visit()
    page.text.fill(DOCUMENT)
    page.route(
        "**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Too many visitors are here."})
    )
    page.go.click()
    expect(page.notice).to_contain_text("Too many visitors are here.")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.unroute("**/queue/join*")
    page.get_by_role("button", name="Try again").click()
    expect(page.status).to_contain_text("words from")
    expect(page.text).to_have_value(DOCUMENT)


def test_broken_stream_is_reported_and_retried_after_a_restart(visit, own_service):
    server = own_service()
    page = visit(url=server.url)
    console = []
    page.on("console", lambda message: console.append(message.text))
    start_long(page)
    expect(page.status).to_contain_text("Reading")
    text = page.text.input_value()
    os.killpg(server.process.pid, signal.SIGKILL)
    expect(page.notice).to_contain_text("The connection to the server broke. Your text is still here.")
    expect(page.status).to_be_hidden()
    expect(page.stop).to_be_hidden()
    assert page.locator("[aria-busy=true]").count() == 0
    page.get_by_role("button", name="Try again").click()
    expect(page.notice).to_contain_text("The server cannot be reached.")

    own_service()
    page.get_by_role("button", name="Try again").click()
    expect(page.status).to_contain_text("Reading")
    expect(page.text).to_have_value(text)
    expect(page.get_by_label("In its own words")).to_be_checked()
    page.stop.click()
    expect(page.status).to_have_text("Stopped.")
    assert page.get_by_text("Connection Lost").count() == 0
    assert [line for line in console if "404" in line] == []


@pytest.mark.slow
def test_silent_server_is_reported_until_it_goes_on(visit, own_service):
    server = own_service()
    page = visit(url=server.url)
    start_long(page)
    expect(page.status).to_contain_text("Reading")
    server.worker.suspend()
    expect(page.notice).to_contain_text("Nothing from the server for")
    server.worker.resume()
    expect(page.notice).to_be_hidden()
    expect(page.status).to_contain_text("Reading")


@pytest.mark.slow
def test_sixty_queued_visitors_leave_the_next_one_informed(visit, own_service):
    server = own_service()
    page, second, third = (visit(url=server.url) for _ in range(3))
    with page.expect_request("**/queue/join*") as joined:
        start_long(page)
    event = json.loads(joined.value.post_data)
    with httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:

        def press(number: int) -> None:
            """Sends what the page sends, as another visitor, who stays."""
            session = f"visitor{number}"
            client.send(client.build_request("GET", f"/ui/gradio_api/heartbeat/{session}"), stream=True)
            response = client.post("/ui/gradio_api/queue/join", json={**event, "session_hash": session})
            assert response.status_code == 200

        for number in range(60):
            press(number)
        second.text.fill(DOCUMENT)
        second.evaluate(
            """() => { window.said = []; new MutationObserver(() => {
                 const text = document.querySelector("#announcement").textContent;
                 if (text && said.at(-1) !== text) said.push(text);
               }).observe(document.querySelector("#announcement"), {childList: true}); }"""
        )
        second.go.click()
        expect(second.status).to_have_text("In line: 60 texts before yours.")
        assert second.evaluate("said")[0] == "Sending…", "at once, by the browser"
        for number in range(60, limits.MAX_WAITING_TEXTS_PER_VISITOR):
            press(number)
        third.text.fill(DOCUMENT)
        third.go.click()
        expect(third.status).to_have_text("Too many of your texts are waiting; please try again in a minute.")
        second.stop.click()
        expect(second.status).to_have_text("Stopped.")
