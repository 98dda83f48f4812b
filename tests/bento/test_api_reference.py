"""The API reference: what it shows of the description, and that it fits a phone."""

import html
import json
import re
import subprocess

import httpx
import pytest
from playwright.sync_api import expect

from bento.api_reference import render
from bento.openapi import describe
from bento.schema import SummarizeRequest, SummarizeResponse
from precis.params import bounds

DEFAULTS = {"mode": "extract", "num_beams": 3}


@pytest.fixture(scope="module")
def reference() -> str:
    return render(describe(False), "http://host:1", True, DEFAULTS)


def section(reference: str, operation: str) -> str:
    return reference.partition(f'<h2 id="{operation}">')[2].partition("</section>")[0]


def row(content: str, field: str) -> list[str]:
    """The cells of a field's row, without the field."""
    line = re.search(rf"<td><code>{re.escape(field)}</code></td>(.*?)</tr>", content)[1]
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]


def test_every_field_of_request_and_response_has_its_row(reference):
    content = section(reference, "summarize")
    for field in [*SummarizeRequest.model_fields, *SummarizeResponse.model_fields]:
        assert row(content, field), field
    assert row(content, "evidence.unsupported[].kind")[0] == '"number" or "name"'
    assert row(content, "extracted")[1].endswith("Not always present.")


def test_types_bounds_and_defaults_are_readable(reference):
    content = section(reference, "summarize")
    low, high = bounds("num_beams")
    assert row(content, "num_beams")[:2] == [f"integer, {low} to {high}", "3, the model's"]
    assert row(content, "text")[:2] == ["string", "required"]
    assert row(content, "long_text")[:2] == ['"split" or "truncate" or "refuse"', '"split"']
    assert row(content, "timeout_ms")[0] == "integer, 1 to 3,600,000"
    assert row(section(reference, "summarize_batch"), "texts")[0] == "array of 1 to 64 strings"
    assert "`" not in reference
    assert not re.search(r"\de\+\d", reference)


def test_contents_list_links_to_every_operation(reference):
    contents = reference.partition("<nav")[2].partition("</nav>")[0]
    links = re.findall(r'href="#(\w+)"', contents)
    assert links == re.findall(r'<h2 id="(\w+)"', reference)
    assert {"summarize", "summarize_batch", "summarize_stream", "model"} <= set(links)


def test_only_the_stream_is_read_without_a_buffer(reference):
    assert "curl -sN http://host:1/summarize_stream" in section(reference, "summarize_stream")
    assert "curl -s http://host:1/summarize " in section(reference, "summarize")


def test_examples_are_answered_by_the_served_model(service):
    """The commands of the reference, run as they stand, give the answers that it shows."""
    page = httpx.get(service.url + "/").text

    for operation in ("summarize", "summarize_batch"):
        command, answer = (
            html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", section(page, operation), re.DOTALL)[:2]
        )
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout) == json.loads(answer)
    described = httpx.get(service.url + "/docs.json").json()["paths"]["/summarize"]["post"]
    response = described["responses"]["200"]["content"]["application/json"]["example"]
    request = described["requestBody"]["content"]["application/json"]["example"]
    assert httpx.post(service.url + "/summarize", json=request, timeout=60).json() == response


def test_phone_does_not_scroll_sideways(browser, service):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    page.goto(service.url + "/")
    expect(page.get_by_role("heading", name="Precis API")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = """() => [...document.querySelectorAll("*")].filter(part => part.scrollWidth > part.clientWidth + 1
      && /auto|scroll/.test(getComputedStyle(part).overflowX)).map(part => part.tagName)"""
    assert page.evaluate(wide) == []
    context.close()
