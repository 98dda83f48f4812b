"""The real service over real HTTP: answers, the form of every error, and what the operator's tools see."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import bentoml
import pytest

from benchmarks.server import BENTOML, Server
from precis import Engine, GenerationParams
from precis.bundle.choose import choose_bundle
from tests.conftest import ROOT, gazette

DOCUMENT = gazette("validation")[1]["document"]


def call(url: str, body: bytes | dict | None = None, method: str | None = None, **headers: str):
    """Status, headers and body of one request."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def engine(served_bundle):
    loaded = Engine.load(served_bundle)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "max_new_tokens": 30}, {"long_text": "truncate"}])
def test_the_answer_is_the_engines(service, engine, settings):
    status, headers, body = call(f"{service.url}/summarize", {"text": DOCUMENT, **settings})
    summary = engine.generate([DOCUMENT], GenerationParams(**settings))[0]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "summary": summary.text,
        "model": engine.bundle.manifest.name,
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "truncated": summary.truncated_tokens > 0,
        "truncated_tokens": summary.truncated_tokens,
        "chunks": summary.chunks,
        "finish_reason": summary.finish_reason,
    }


def test_many_clients_at_once_each_get_their_own_answer(service, engine):
    texts = [row["document"] for row in gazette("validation")[:24]]
    expected = [summary.text for summary in engine.generate(texts)]

    def ask(text):
        return json.loads(call(f"{service.url}/summarize", {"text": text})[2])["summary"]

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
def test_bad_input_meets_one_sentence_in_the_contracts_form(service, body, status, kind, field):
    answered, headers, content = call(f"{service.url}/summarize", body)
    error = json.loads(content)["error"]
    assert (answered, error["type"], error.get("field")) == (status, kind, field)
    assert headers["Content-Type"] == "application/json"
    assert "\n" not in error["message"]
    assert field is None or field in error["message"] or field == "text"


def test_a_chunked_body_has_the_same_limit(service):
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
def test_a_wrong_address_has_the_same_form(service, path, method, status, kind):
    answered, _, content = call(f"{service.url}{path}", method=method)
    assert (answered, json.loads(content)["error"]["type"]) == (status, kind)


def test_model_is_the_manifest(service, served_bundle):
    status, _, content = call(f"{service.url}/model")
    assert (status, json.loads(content)) == (200, json.loads((served_bundle / "manifest.json").read_text()))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics"])
def test_the_operators_addresses_answer(service, path):
    assert call(f"{service.url}{path}")[0] == 200


def test_openapi_describes_the_endpoint(service):
    status, _, content = call(f"{service.url}/docs.json")
    assert status == 200
    assert "/summarize" in json.loads(content)["paths"]
    assert "num_beams" in content.decode()


def test_bentomls_own_client_works(service, engine):
    with bentoml.SyncHTTPClient(service.url) as client:
        answer = client.summarize({"text": DOCUMENT, "num_beams": 2})
    assert answer["summary"] == engine.generate([DOCUMENT], GenerationParams(num_beams=2))[0].text


def test_no_text_of_users_reaches_the_log(service):
    before = len(service.log.read_text())
    for body in ({"text": "xyzzyplugh"}, {"text": "xyzzyplugh", "num_beams": "xyzzyplugh"}, b"xyzzyplugh"):
        call(f"{service.url}/summarize", body)
    assert "xyzzyplugh" not in service.log.read_text()
    # Gradio prints a traceback of its own where a visitor asks for what is not theirs, as a test of the page does.
    assert "Traceback" not in service.log.read_text()[before:]


def test_a_built_bento_serves_the_best_bundle_and_answers_like_the_engine(embedded, tmp_path):
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
        "engine",
        "requirements",
    }
    served = Server([BENTOML, "serve", tag], tmp_path, None, tmp_path)
    try:
        served.wait_until_ready()
        status, _, content = call(f"{served.url}/summarize", {"text": DOCUMENT})
        manifest = json.loads(call(f"{served.url}/model")[2])
    finally:
        served.stop()
    assert manifest == json.loads((bundle / "manifest.json").read_text())
    engine = Engine.load(bundle)
    assert (status, json.loads(content)["summary"]) == (200, engine.generate([DOCUMENT])[0].text)
    engine.close()


@pytest.mark.parametrize("module", ["precis.engine", "precis.cli", "bento.service", "bento.page.app"])
def test_serving_imports_nothing_of_training(embedded, module):
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'optimum', 'peft') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_data_moves_one_way():
    """No room imports the one after it, apart from export, which proves the engine."""
    import ast

    later = {"finetune": {"export", "engine", "bento"}, "export": {"bento"}, "engine": {"finetune", "export", "bento"}}
    later["bento"] = {"finetune", "export"}
    heavy = {"torch", "transformers", "optimum", "peft", "datasets"}
    for room, forbidden in later.items():
        if room in ("engine", "bento"):
            forbidden = forbidden | heavy
        for path in (ROOT / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                assert not {name.split(".")[0] for name in names} & forbidden, path
