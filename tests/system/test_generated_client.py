"""A client that is generated from the OpenAPI description, used as its reader would."""

import importlib
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

TOOL = "openapi-python-client==0.29.1"
TEXT = "The council met on Tuesday. It agreed to mend the old bridge before the winter, at a cost of 2 million."


@pytest.fixture(scope="module")
def generated(service, tmp_path_factory):
    """The generated package. The generator runs in an environment of its own."""
    folder = tmp_path_factory.mktemp("client")
    with urllib.request.urlopen(service.url + "/docs.json") as answer:
        (folder / "openapi.json").write_bytes(answer.read())
    command = [str(Path(sys.executable).with_name("uv")), "tool", "run", "--system-certs", "--from", TOOL]
    version = subprocess.run([*command, "openapi-python-client", "--version"], capture_output=True, text=True)
    if version.returncode:
        pytest.skip(f"{TOOL} cannot be fetched here: {version.stderr.strip().splitlines()[-1]}")
    arguments = ["generate", "--path", folder / "openapi.json", "--output-path", folder / "made"]
    done = subprocess.run([*command, "openapi-python-client", *arguments], capture_output=True, text=True, check=True)
    assert "endpoint" not in (done.stdout + done.stderr).lower()  # a warning would name an endpoint that it left out
    sys.path.insert(0, str(folder / "made"))
    yield importlib.import_module("precis_client")
    sys.path.remove(str(folder / "made"))


@pytest.mark.slow
def test_responses_and_errors_have_their_types(generated, service):
    summarize = importlib.import_module("precis_client.api.default.summarize")
    summarize_batch = importlib.import_module("precis_client.api.default.summarize_batch")
    models = importlib.import_module("precis_client.models")
    client = generated.Client(base_url=service.url, timeout=60)

    response = summarize.sync(client=client, body=models.SummarizeRequest(text=TEXT, evidence=True))
    assert isinstance(response, models.SummarizeResponse)
    assert response.summary
    assert all(TEXT[s.start : s.end] == s.text for s in response.evidence.sentences)

    refused = summarize.sync_detailed(client=client, body=models.SummarizeRequest(text=" "))
    assert (refused.status_code, refused.parsed.error.field) == (422, "text")

    batch = summarize_batch.sync(client=client, body=models.BatchRequest(texts=[TEXT, ""]))
    assert [type(result) for result in batch.results] == [models.SummarizeResponse, models.ErrorResponse]
