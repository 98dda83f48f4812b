"""What operators and browsers see of the service: request ids, log lines, headers, descriptions, metrics."""

import json
import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import gazette

DOCUMENT = gazette("validation")[0]["document"]


def test_request_id_is_returned_and_logged(client, service):
    response = client.post("/summarize", json={"text": "x", "max_new_tokens": 1}, headers={"X-Request-ID": "shop-17.a"})
    assert response.headers["x-request-id"] == "shop-17.a"
    wait = time.monotonic() + 60  # the line is written after the response
    while not (matches := [line for line in service.log.read_text().splitlines() if '"shop-17.a"' in line]):
        assert time.monotonic() < wait
        time.sleep(0.05)
    lines = [json.loads(line) for line in matches]
    assert [(line["status"], line["route"]) for line in lines] == [(200, "/summarize")]
    for bad in ("a b", "x" * 129, 'q"uote', ""):
        generated = client.get("/model", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", generated)
    assert client.get("/nowhere").headers["x-request-id"]


def test_all_log_lines_are_json(client, service):
    before = len(service.log.read_text())  # Gradio prints tracebacks, which tests of the page may have caused
    client.get("/secret-address?q=text")
    client.post("/summarize", json={"text": DOCUMENT, "max_new_tokens": 2})
    client.get("/model")
    lines = service.log.read_text()[before:].splitlines()
    assert lines
    assert all({"time", "level", "logger", "message"} <= json.loads(line).keys() for line in lines)
    assert not [line for line in lines if "secret-address" in line]


@pytest.mark.parametrize("path", ["/", "/ui/", "/model", "/summarize", "/nowhere", "/livez", "/metrics", "/docs.json"])
def test_responses_do_not_name_the_servers_software(client, path):
    response = client.get(path)
    assert "server" not in response.headers
    assert not [name for name in response.headers if "bentoml" in name or "powered" in name]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_pages_have_security_headers_and_load_nothing_from_other_hosts(client, path):
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert (response.headers["x-frame-options"], response.headers["referrer-policy"]) == ("DENY", "no-referrer")
    elsewhere = re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+""", response.text)
    assert [address for address in elsewhere if "127.0.0.1" not in address] == []


def test_page_has_its_own_link_preview(client):
    shown = client.get("/ui/").text
    metas = dict(re.findall(r'<meta\s+(?:name|property)="([^"]+)"\s+content="([^"]*)"', shown))
    assert metas["og:title"] == "Precis"
    assert metas["description"] == metas["og:description"]
    assert not [value for name, value in metas.items() if name.startswith(("og:", "twitter:")) and "radio" in value]
    assert "<title>Precis</title>" in shown
    assert "manifest.json" not in shown.split("window.gradio_config")[0]


def test_favicon_is_served(client):
    response = client.get("/favicon.ico")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/x-icon")
    assert response.content[:6] == bytes([0, 0, 1, 0, 1, 0]), "an ICO file with one image"
    assert len(response.content) < 4096


def test_api_reference_shows_all_fields_and_has_no_script(client):
    shown = client.get("/").text
    assert "<script" not in shown
    schemas = client.get("/docs.json").json()["components"]["schemas"]
    for name in ("SummarizeRequest", "BatchRequest"):
        for field in schemas[name]["properties"]:
            assert f"<code>{field}</code>" in shown


def test_other_origins_get_no_cors_headers(client):
    response = client.post(
        "/summarize", json={"text": "x", "max_new_tokens": 1}, headers={"Origin": "https://elsewhere"}
    )
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_examples_of_the_openapi_description_work(client):
    api = client.get("/docs.json").json()
    for path in ("/summarize", "/summarize_batch", "/summarize_stream"):
        operation = api["paths"][path]["post"]
        response = client.post(path, json=operation["requestBody"]["content"]["application/json"]["example"])
        assert response.status_code == 200
        assert response.headers["content-type"].split(";")[0] in operation["responses"]["200"]["content"]
    assert {"400", "408", "413", "422", "429", "500", "503", "504"} <= api["paths"]["/summarize"]["post"][
        "responses"
    ].keys()


def test_metrics_count_requests_with_few_labels(client):
    def read() -> dict[tuple, float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    before = read()
    body = {"text": DOCUMENT * 9, "mode": "write", "max_new_tokens": 5}
    client.post("/summarize", json=body)
    client.post("/summarize", json={**body, "long_text": "truncate"})
    client.post("/summarize", json={})
    for number in range(20):
        client.get(f"/scan/{number}")
        client.request("PROPFIND", f"/{number}")
    after = read()

    def grown(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    assert grown("precis_requests_total", "/summarize", "200") == 2
    assert grown("precis_requests_total", "/summarize", "422") == 1
    assert grown("precis_requests_total", "404", "other") == 40
    assert (grown("precis_long_texts_total", "split"), grown("precis_long_texts_total", "truncated")) == (1, 1)
    assert grown("precis_rejections_total", "invalid") == 1
    for name in (
        "queue_wait_seconds",
        "admission_estimate_ratio",
        "time_to_first_token_seconds",
        "time_per_output_token_seconds",
        "input_tokens",
        "output_tokens",
    ):
        assert grown(f"precis_{name}_count") == 2
    assert grown("precis_output_tokens_sum") == 10
    for name in ("queue_tokens", "queue_tokens_limit", "rows_running", "rows", "queue_drain_tokens_per_second"):
        assert (f"precis_{name}",) in after
    assert len(after) < 400
    assert not [key for key in after if any("scan" in part or "PROPFIND" in part for part in key)]
