"""The endpoints over real HTTP: batches, streams, evidence, deadlines, ids, and the description of all that."""

import json
import re
import time

import bentoml
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from precis import Engine, GenerationParams
from precis.grounding.evidence import support
from tests.conftest import gazette

DOCUMENTS = [row["document"] for row in gazette("validation")[:8]]


@pytest.fixture(scope="module")
def engine(served_bundle):
    loaded = Engine.load(served_bundle)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def client(service):
    with httpx.Client(base_url=service.url, timeout=60) as opened:
        yield opened


def events(text: str) -> list[tuple[str, dict]]:
    """Server-sent events as a browser reads them."""
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        if lines:
            fields = {name: value for name, _, value in lines}
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_batch_has_a_result_or_an_error_for_each_text_in_order(client, engine):
    short = [text[:300] for text in DOCUMENTS]
    texts = [*short[:3], " \n", DOCUMENTS[3] * 20, *short[4:]]
    answer = client.post("/summarize_batch", json={"texts": texts, "max_new_tokens": 12, "long_text": "refuse"})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(texts)
    generation = GenerationParams(max_new_tokens=12, long_text="refuse")
    for index, (text, result) in enumerate(zip(texts, results, strict=True)):
        if index in (3, 4):
            assert (result["error"]["type"], result["error"]["field"]) == ("invalid_field", "text")
        else:
            assert result["summary"] == engine.generate([text], generation)[0].text


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
def test_a_batch_that_is_wrong_as_a_whole_is_refused_as_a_whole(client, body, status, field):
    answer = client.post("/summarize_batch", json=body)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["error"]["field"] == field
    else:
        assert answer.json()["results"][0]["error"]["field"] == "min_new_tokens"


def test_sixty_four_texts_are_taken(client):
    answer = client.post(
        "/summarize_batch", json={"texts": [text[:200] for text in DOCUMENTS] * 8, "max_new_tokens": 4}
    )
    assert [set(result) >= {"summary"} for result in answer.json()["results"]] == [True] * 64


def test_a_stream_gives_pieces_that_join_and_then_the_whole_answer(client):
    body = {"text": DOCUMENTS[0], "max_new_tokens": 20, "num_beams": 1, "evidence": True}
    with client.stream("POST", "/summarize_stream", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events(answer.read().decode())
    assert [name for name, _ in found[:-1]] == ["delta"] * (len(found) - 1)
    assert len(found) > 5
    assert found[-1] == ("done", client.post("/summarize", json=body).json())
    assert "".join(data["text"] for _, data in found[:-1]) == found[-1][1]["summary"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"text": " "}, 422), ({"text": "x", "min_new_tokens": 9, "max_new_tokens": 8}, 422), ({}, 422)],
)
def test_a_stream_that_cannot_begin_has_a_status_of_its_own(client, body, status):
    answer = client.post("/summarize_stream", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"]["type"]


def test_a_stream_that_ends_early_says_so(client):
    body = {"text": DOCUMENTS[0], "max_new_tokens": 512, "min_new_tokens": 512}
    began = time.monotonic()
    assert events(client.post("/summarize_stream", json=body).text)[-1][0] == "done"
    limit = int(500 * (time.monotonic() - began))  # ms, however busy the machine is
    for _ in range(5):
        answer = client.post("/summarize_stream", json={**body, "timeout_ms": limit})
        if answer.status_code == 200:
            break
        limit += limit // 8  # on a busy machine it may not even have begun
    found = events(answer.text)
    assert found[0][0] == "delta"
    assert found[-1][0] == "error"
    assert found[-1][1]["error"]["type"] == "timeout"


def test_a_deadline_is_kept(client):
    body = {"text": DOCUMENTS[0], "max_new_tokens": 512, "min_new_tokens": 512, "num_beams": 8, "timeout_ms": 150}
    began = time.monotonic()
    answer = client.post("/summarize", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout")
    assert 0.15 <= time.monotonic() - began < 2


def test_evidence_points_into_the_callers_text(client):
    text = "🎉 " + DOCUMENTS[1]
    answer = client.post("/summarize", json={"text": text, "evidence": True}).json()
    expected = support(text, answer["summary"])
    assert expected.sentences, "a summary that shares words with its text"
    assert [s["score"] for s in answer["evidence"]["sentences"]] == [s.score for s in expected.sentences]
    for sentence in answer["evidence"]["sentences"]:
        assert text[sentence["start"] : sentence["end"]] == sentence["text"]
    for span in answer["evidence"]["unsupported"]:
        assert answer["summary"][span["start"] : span["end"]] == span["text"]
        assert span["text"] not in text


def test_a_callers_id_comes_back_and_stands_in_the_log(client, service):
    answer = client.post("/summarize", json={"text": "x", "max_new_tokens": 1}, headers={"X-Request-ID": "shop-17.a"})
    assert answer.headers["x-request-id"] == "shop-17.a"
    wait = time.monotonic() + 10  # the line is written after the answer
    while not (found := [line for line in service.log.read_text().splitlines() if '"shop-17.a"' in line]):
        assert time.monotonic() < wait
        time.sleep(0.05)
    lines = [json.loads(line) for line in found]
    assert [(line["status"], line["route"]) for line in lines] == [(200, "/summarize")]
    for bad in ("a b", "x" * 129, 'q"uote', ""):
        made = client.get("/model", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    assert client.get("/nowhere").headers["x-request-id"]


def test_every_log_line_is_json(client, service):
    before = len(service.log.read_text())  # Gradio prints tracebacks of its own, which the page's tests may have caused
    client.get("/secret-address?q=text")
    client.post("/summarize", json={"text": DOCUMENTS[0], "max_new_tokens": 2})
    client.get("/model")
    lines = service.log.read_text()[before:].splitlines()
    assert lines
    assert all({"time", "level", "logger", "message"} <= json.loads(line).keys() for line in lines)
    assert not [line for line in lines if "secret-address" in line]


@pytest.mark.parametrize("path", ["/", "/ui/", "/model", "/summarize", "/nowhere", "/livez", "/metrics", "/docs.json"])
def test_no_answer_tells_the_servers_software(client, path):
    answer = client.get(path)
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if "bentoml" in name or "powered" in name]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_pages_carry_security_headers_and_load_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert (answer.headers["x-frame-options"], answer.headers["referrer-policy"]) == ("DENY", "no-referrer")
    elsewhere = re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+""", answer.text)
    assert [address for address in elsewhere if "127.0.0.1" not in address] == []


def test_a_link_to_the_page_has_a_preview_of_ours(client):
    shown = client.get("/ui/").text
    metas = dict(re.findall(r'<meta\s+(?:name|property)="([^"]+)"\s+content="([^"]*)"', shown))
    assert metas["og:title"] == "Precis"
    assert metas["description"] == metas["og:description"]
    assert not [value for name, value in metas.items() if name.startswith(("og:", "twitter:")) and "radio" in value]
    assert "<title>Precis</title>" in shown
    assert "manifest.json" not in shown.split("window.gradio_config")[0]


def test_a_browser_that_asks_for_the_icon_gets_it(client):
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/x-icon")
    assert answer.content[:6] == bytes([0, 0, 1, 0, 1, 0]), "an ICO file with one picture"
    assert len(answer.content) < 4096


def test_the_api_page_shows_every_field_and_runs_no_script(client):
    shown = client.get("/").text
    assert "<script" not in shown
    schemas = client.get("/docs.json").json()["components"]["schemas"]
    for name in ("SummarizeRequest", "BatchRequest"):
        for field in schemas[name]["properties"]:
            assert f"<code>{field}</code>" in shown


def test_other_origins_get_no_leave(client):
    answer = client.post("/summarize", json={"text": "x", "max_new_tokens": 1}, headers={"Origin": "https://elsewhere"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_examples_of_the_description_work(client):
    api = client.get("/docs.json").json()
    for path in ("/summarize", "/summarize_batch", "/summarize_stream"):
        operation = api["paths"][path]["post"]
        answer = client.post(path, json=operation["requestBody"]["content"]["application/json"]["example"])
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in operation["responses"]["200"]["content"]
    assert {"400", "408", "413", "422", "429", "500", "503", "504"} <= api["paths"]["/summarize"]["post"][
        "responses"
    ].keys()


def test_bentomls_client_reads_batches_and_streams(service, client):
    with bentoml.SyncHTTPClient(service.url) as opened:
        batch = opened.summarize_batch({"texts": DOCUMENTS[:2], "max_new_tokens": 9})
        stream = b"".join(
            part if isinstance(part, bytes) else part.encode()
            for part in opened.summarize_stream({"text": DOCUMENTS[0], "max_new_tokens": 9})
        )
    assert batch == client.post("/summarize_batch", json={"texts": DOCUMENTS[:2], "max_new_tokens": 9}).json()
    assert stream.count(b"event: done") == 1


def test_metrics_count_and_their_labels_are_few(client):
    def read() -> dict[tuple, float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    before = read()
    client.post("/summarize", json={"text": DOCUMENTS[0] * 9, "max_new_tokens": 5})
    client.post("/summarize", json={"text": DOCUMENTS[0] * 9, "max_new_tokens": 5, "long_text": "truncate"})
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
    for name in ("queue_wait_seconds", "time_to_first_token_seconds", "time_per_output_token_seconds", "input_tokens", "output_tokens"):
        assert grown(f"precis_{name}_count") == 2
    assert grown("precis_output_tokens_sum") == 10
    for name in ("queue_tokens", "queue_tokens_limit", "rows_running", "rows", "queue_drain_tokens_per_second"):
        assert (f"precis_{name}",) in after
    assert len(after) < 400
    assert not [key for key in after if any("scan" in part or "PROPFIND" in part for part in key)]
