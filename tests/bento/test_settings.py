"""Variables, keys and logs, each by itself."""

import json
import logging
import os
import sys

import pytest

from bento.logs import JsonFormatter, TextFormatter, request_id
from bento.middleware.api_keys import ApiKeys
from bento.settings import ServiceSettings, SettingsError, settings, table
from precis.bundle.choose import choose_bundle
from tests.conftest import ROOT

KEY, OTHER = "k" * 16, "o" * 20


@pytest.fixture
def read(monkeypatch):
    """ServiceSettings of an environment with these PRECIS_ variables and no others."""
    for name in [name for name in os.environ if name.startswith("PRECIS_")]:
        monkeypatch.delenv(name)

    def reader(**variables: str) -> ServiceSettings:
        for name, value in variables.items():
            monkeypatch.setenv(f"PRECIS_{name}", value)
        return settings.__wrapped__()

    return reader


def test_an_empty_environment_serves_the_embedded_bundle_with_its_page(read):
    found = read()
    assert found.bundle == choose_bundle(ROOT / "artifacts/embedded", "cpu")
    assert found.has_page
    assert not found.asks_for_keys


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("THREADS", "many", "PRECIS_THREADS should be a valid integer"),
        ("THREADS", "0", "PRECIS_THREADS should be greater than or equal to 1"),
        ("LOG_FORMAT", "xml", "PRECIS_LOG_FORMAT should be 'json' or 'text'"),
        ("API_KEYS", f"{KEY},short", "PRECIS_API_KEYS has a key of fewer than 16 characters"),
        ("API_KEY_FILE", "/nonexistent", "PRECIS_API_KEY_FILE names no file"),
        ("OTLP_ENDPOINT", "collector:4318", "PRECIS_OTLP_ENDPOINT should begin with http:// or https://"),
        ("TIMEOUT_SECONDS", "nan", "PRECIS_TIMEOUT_SECONDS should be"),
        ("BUNDEL", "x", "There is no variable PRECIS_BUNDEL; PRECIS_BUNDLE is one."),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_not_repeated(read, name, value, said):
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert said in str(caught.value)
    assert "short" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_kubernetes_sets_and_what_is_empty_is_no_mistake(read):
    assert read(PORT="tcp://10.0.0.1:3000", SERVICE_HOST="10.0.0.1", PORT_3000_TCP_ADDR="x", THREADS="").threads is None


def test_keys_take_the_page_away_unless_it_is_asked_for(read):
    assert not read(API_KEYS=KEY).has_page
    assert read(API_KEYS=KEY, PAGE="true").has_page


def test_the_documented_table_is_that_of_the_code():
    documented = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert table() in documented, "write the table anew: python -m bento.settings"
    for name in ServiceSettings.model_fields:
        assert f"`PRECIS_{name.upper()}`" in table()


def headers(key: str, name: bytes = b"x-api-key") -> dict[bytes, bytes]:
    return {name: key.encode()}


def test_keys_of_the_environment_and_of_a_file_that_changes(read, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{OTHER}  # the shop's\n\ntiny\n")
    keys = ApiKeys(read(API_KEYS=f"{KEY}, {KEY}2", API_KEY_FILE=str(file)))
    for key in (KEY, KEY + "2", OTHER):
        assert keys.client(headers(key))
        assert keys.client(headers(f"Bearer {key}", b"authorization"))
    assert keys.client(headers(KEY)) != keys.client(headers(OTHER))
    for wrong in ("", KEY[:-1], KEY + " ", "tiny", f"Basic {KEY}"):
        assert keys.client(headers(wrong)) is None
        assert keys.client(headers(wrong, b"authorization")) is None
    assert keys.client({}) is None
    file.write_text("n" * 24 + "\n")
    assert keys.client(headers(OTHER)) is None
    assert keys.client(headers("n" * 24))
    file.unlink()
    assert keys.client(headers("n" * 24)), "a file that is away for a moment shuts nobody out"


def test_a_log_line_is_json_with_the_requests_id_and_no_text_of_an_exception():
    request_id.set("r-1")
    try:
        raise ValueError("the secret text")
    except ValueError:
        record = logging.LogRecord("precis.x", logging.ERROR, "f", 1, "It %s", ("failed",), sys.exc_info())
    record.fields = {"status": 500}
    line = json.loads(JsonFormatter().format(record))
    request_id.set(None)
    assert (line["message"], line["level"], line["request_id"], line["status"]) == ("It failed", "error", "r-1", 500)
    assert "ValueError at" in line["exception"]
    assert "secret" not in json.dumps(line) + TextFormatter().format(record)
