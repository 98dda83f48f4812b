"""The service over HTTP: responses, the form of errors, operators' endpoints, BentoML's client and a built bento."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import bentoml
import pytest

from benchmarks.server import BENTOML, Server
from precis import Engine, GenerationParams
from precis.bundle.choose import choose_bundle
from tests.conftest import ROOT, gazette

DOCUMENT = gazette("validation")[1]["document"]


def send(url: str, body: bytes | dict | None = None, method: str | None = None, **headers: str):
    """Status, headers and body of one request."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "write", "num_beams": 3, "max_new_tokens": 30}, {"long_text": "truncate"}]
)
def test_response_equals_the_engines_summary(service, served_engine, settings):
    params = GenerationParams(**settings)
    status, headers, body = send(f"{service.url}/summarize", {"text": DOCUMENT, **settings})
    summary, answer = served_engine.generate([DOCUMENT], params)[0], json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (answer.pop("trust", None) is None) == (served_engine.certificate(params) is None)
    assert answer == {
        "summary": summary.text,
        "model": served_engine.bundle.manifest.name,
        **({"extracted": list(map(asdict, summary.extracted))} if summary.extracted else {}),
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "truncated": summary.truncated_tokens > 0,
        "truncated_tokens": summary.truncated_tokens,
        "chunks": summary.chunks,
        "finish_reason": summary.finish_reason,
        "already_short": False,
        "unsupported_language": False,
        "score": pytest.approx(summary.score, abs=1e-4),
        "min_token_score": pytest.approx(summary.min_token_score, abs=1e-4),
    }
    assert (summary.score is None) == (settings.get("mode") != "write")


def test_texts_that_need_no_model_are_flagged(service):
    short = "The pool is closed until Saturday."
    answer = json.loads(send(f"{service.url}/summarize", {"text": short, "evidence": True})[2])
    assert (answer["summary"], answer["already_short"], answer["unsupported_language"]) == (short, True, False)
    assert [sentence["text"] for sentence in answer["evidence"]["sentences"]] == [short]
    chinese = "市议会决定拆除旧桥，并在明年秋天之前建造一座新桥。费用估计为三百万欧元。居民对此表示欢迎。" * 3
    answer = json.loads(send(f"{service.url}/summarize", {"text": chinese})[2])
    assert (answer["already_short"], answer["unsupported_language"]) == (False, True)
    assert answer["summary"] == chinese[: chinese.index("。") + 1]
    answer = json.loads(send(f"{service.url}/summarize", {"text": short, "passthrough": False})[2])
    assert not answer["already_short"]


def test_concurrent_clients_get_their_own_summaries(service, served_engine):
    texts = [row["document"] for row in gazette("validation")[:24]]
    expected = [summary.text for summary in served_engine.generate(texts)]

    def ask(text):
        return json.loads(send(f"{service.url}/summarize", {"text": text})[2])["summary"]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, texts)) == expected


@pytest.mark.parametrize(
    ("body", "status", "kind", "field"),
    [
        (b'{"text":', 400, "invalid_json", None),
        (b"", 400, "invalid_json", None),
        (b"\xff\xfe", 400, "invalid_json", None),
        (b'{"text": "\\ud800"}', 400, "invalid_json", None),
        (b"[1]", 400, "invalid_json", None),
        ({}, 422, "missing_field", "text"),
        ({"text": ""}, 422, "invalid_field", "text"),
        ({"text": " \n\t"}, 422, "invalid_field", "text"),
        ({"text": "\u200b\ufeff\0"}, 422, "invalid_field", "text"),
        ({"text": "</s>"}, 422, "invalid_field", "text"),
        ({"text": 3}, 422, "invalid_field", "text"),
        ({"text": None}, 422, "invalid_field", "text"),
        ({"text": "x", "summary": 1}, 422, "unknown_field", "summary"),
        ({"text": "x", "max_new_tokens": 0}, 422, "invalid_field", "max_new_tokens"),
        ({"text": "x", "max_new_tokens": 513}, 422, "invalid_field", "max_new_tokens"),
        ({"text": "x", "max_new_tokens": "9"}, 422, "invalid_field", "max_new_tokens"),
        ({"text": "x", "num_beams": 9}, 422, "invalid_field", "num_beams"),
        ({"text": "x", "num_beams": 1.5}, 422, "invalid_field", "num_beams"),
        (b'{"text": "x", "length_penalty": NaN}', 422, "invalid_field", "length_penalty"),
        ({"text": "x", "early_stopping": "later"}, 422, "invalid_field", "early_stopping"),
        ({"text": "x", "min_new_tokens": 9, "max_new_tokens": 8}, 422, "invalid_field", "min_new_tokens"),
        ({"text": DOCUMENT * 20, "long_text": "refuse"}, 422, "invalid_field", "text"),
        (b'{"text": "' + b"a" * (2 << 20) + b'"}', 413, "too_large", None),
    ],
)
def test_invalid_request_gets_one_sentence_in_the_form_of_errors(service, body, status, kind, field):
    answered, headers, content = send(f"{service.url}/summarize", body)
    error = json.loads(content)["error"]
    assert (answered, error["type"], error.get("field")) == (status, kind, field)
    assert headers["Content-Type"] == "application/json"
    assert "\n" not in error["message"]
    assert field is None or field in error["message"] or field == "text"


def test_chunked_body_has_the_same_limit(service):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    chunks = (b"a" * 65536 for _ in range(40))
    connection.request("POST", "/summarize", chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["type"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [("/nowhere", "GET", 404, "not_found"), ("/summarize", "GET", 405, "method_not_allowed")],
)
def test_wrong_path_or_method_has_the_form_of_errors(service, path, method, status, kind):
    answered, _, content = send(f"{service.url}{path}", method=method)
    assert (answered, json.loads(content)["error"]["type"]) == (status, kind)


def test_model_endpoint_returns_the_manifest(service, served_bundle):
    status, _, content = send(f"{service.url}/model")
    assert (status, json.loads(content)) == (200, json.loads((served_bundle / "manifest.json").read_text()))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics"])
def test_operators_endpoints_answer(service, path):
    assert send(f"{service.url}{path}")[0] == 200


def test_openapi_describes_summarize(service):
    status, _, content = send(f"{service.url}/docs.json")
    assert status == 200
    assert "/summarize" in json.loads(content)["paths"]
    assert "num_beams" in content.decode()


def test_bentoml_client_summarizes(service, served_engine):
    with bentoml.SyncHTTPClient(service.url) as client:
        answer = client.summarize({"text": DOCUMENT, "num_beams": 2})
    assert answer["summary"] == served_engine.generate([DOCUMENT], GenerationParams(num_beams=2))[0].text


def test_log_holds_no_text_of_users(service):
    before = len(service.log.read_text())
    for body in ({"text": "xyzzyplugh"}, {"text": "xyzzyplugh", "num_beams": "xyzzyplugh"}, b"xyzzyplugh"):
        send(f"{service.url}/summarize", body)
    assert "xyzzyplugh" not in service.log.read_text()
    # Only new lines: Gradio prints tracebacks of its own, which tests of the page may have caused.
    assert "Traceback" not in service.log.read_text()[before:]


def test_built_bento_serves_the_fastest_bundle(embedded, tmp_path):
    import os

    bundle = choose_bundle(embedded, "cpu")
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentoml")}
    environment.pop("PRECIS_BUNDLE", None)
    built = subprocess.run(
        [BENTOML, "build", "--output", "tag"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stderr
    tag = built.stdout.strip().removeprefix("__tag__:")
    name, version = tag.split(":")
    source = tmp_path / "bentoml/bentos" / name / version / "src"
    assert {path.name for path in source.iterdir()} == {
        "artifacts",
        "bento",
        "bentofile.yaml",
        "precis",
        "requirements",
    }
    served = Server([BENTOML, "serve", tag], tmp_path, None, tmp_path)
    try:
        served.wait_until_ready()
        status, _, content = send(f"{served.url}/summarize", {"text": DOCUMENT})
        manifest = json.loads(send(f"{served.url}/model")[2])
    finally:
        served.stop()
    assert manifest == json.loads((bundle / "manifest.json").read_text())
    with contextlib.closing(Engine.load(bundle)) as engine:
        assert (status, json.loads(content)["summary"]) == (200, engine.generate([DOCUMENT])[0].text)


@pytest.mark.parametrize("module", ["precis.engine", "precis.cli", "bento.service", "bento.page.app"])
def test_serving_imports_no_training_libraries(embedded, module):
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'optimum', 'peft') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
