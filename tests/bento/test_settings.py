"""Settings from environment variables, and the documentation that is made from them."""

import os

import pytest

from bento.settings import ServiceSettings, SettingsError, settings, table, unknown_variables
from precis.bundle.choose import choose_bundle
from tests.conftest import ROOT

KEY = "k" * 16


@pytest.fixture
def read(monkeypatch):
    """Reads the settings from an environment with the given PRECIS_ variables and no others."""
    for name in [name for name in os.environ if name.startswith("PRECIS_")]:
        monkeypatch.delenv(name)

    def reader(**variables: str) -> ServiceSettings:
        for name, value in variables.items():
            monkeypatch.setenv(f"PRECIS_{name}", value)
        return settings.__wrapped__()

    return reader


def test_defaults_serve_the_embedded_bundle_and_the_page(read):
    defaults = read()
    assert defaults.bundle == choose_bundle(ROOT / "artifacts/embedded", "cpu")
    assert defaults.has_page
    assert not defaults.asks_for_keys


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("THREADS", "many", "PRECIS_THREADS should be a valid integer"),
        ("THREADS", "0", "PRECIS_THREADS should be greater than or equal to 1"),
        ("LOG_FORMAT", "xml", "PRECIS_LOG_FORMAT should be 'json' or 'text'"),
        ("API_KEYS", f"{KEY},short", "PRECIS_API_KEYS has a key of fewer than 16 characters"),
        ("API_KEYS", " , ", "PRECIS_API_KEYS has no key in it"),
        ("API_KEY_FILE", "/nonexistent", "PRECIS_API_KEY_FILE names no file"),
        ("OTLP_ENDPOINT", "collector:4318", "PRECIS_OTLP_ENDPOINT should begin with http:// or https://"),
        ("TIMEOUT_SECONDS", "nan", "PRECIS_TIMEOUT_SECONDS should be"),
        ("BUNDEL", "x", "There is no variable PRECIS_BUNDEL; PRECIS_BUNDLE is one."),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "PRECIS_TRUSTED_PROXIES should be addresses or networks"),
        ("TRUSTED_PROXIES", "proxy.example", "PRECIS_TRUSTED_PROXIES should be addresses or networks"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, *", "PRECIS_TRUSTED_PROXIES should be addresses or networks"),
        ("CORS_ORIGINS", "shop.example", "PRECIS_CORS_ORIGINS should be origins"),
        ("CORS_ORIGINS", "https://a.example, https://shop.example/", "PRECIS_CORS_ORIGINS should be origins"),
        ("COMPARE_BUNDLE", "/nonexistent", "PRECIS_COMPARE_BUNDLE names no bundle"),
        ("ROOT_PATH", "precis", "PRECIS_ROOT_PATH should be a path like /precis"),
        ("ROOT_PATH", "/a/../b c", "PRECIS_ROOT_PATH should be a path like /precis"),
    ],
)
def test_invalid_value_is_named_and_not_repeated(read, name, value, message):
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert message in str(caught.value)
    assert "short" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["precis_public_key", "Precis_Public_Key", "PRECIS_public_key"])
def test_variable_in_small_letters_is_refused(read, monkeypatch, name):
    """Only one of the places that read it would obey it: an unsigned bundle was served."""
    monkeypatch.setenv(name, "/key.pem")
    with pytest.raises(SettingsError, match=f"There is no variable {name}; PRECIS_PUBLIC_KEY is one."):
        read()


def test_unknown_variables_are_named(read):
    read(PORT="tcp://10.0.0.1:3000", PORT_3000_TCP_ADDR="10.0.0.1", SERVICE_PORT_HTTP="3000", COLOUR="red", THREADS="2")
    assert unknown_variables() == ["PRECIS_COLOUR"]


def test_root_path_and_proxies(read):
    assert read(ROOT_PATH="/tools/precis/").root_path == "/tools/precis"
    assert read(ROOT_PATH="/").root_path == ""
    assert read(TRUSTED_PROXIES="10.0.0.0/8, ::1").trusted_proxies == "10.0.0.0/8, ::1"
    assert read(TRUSTED_PROXIES=" * ").trusted_proxies == "*"


def test_origins_are_those_that_browsers_send(read):
    origins = "https://Shop.example:8443, http://[::1]:3000, capacitor://localhost"
    assert read(CORS_ORIGINS=origins).cors_origins == origins.lower()
    assert read(CORS_ORIGINS="*").cors_origins == "*"


def test_kubernetes_variables_and_empty_ones_are_ignored(read):
    assert read(PORT="tcp://10.0.0.1:3000", SERVICE_HOST="10.0.0.1", PORT_3000_TCP_ADDR="x", THREADS="").threads is None


def test_api_keys_turn_the_page_off_unless_it_is_set(read):
    assert not read(API_KEYS=KEY).has_page
    assert read(API_KEYS=KEY, PAGE="true").has_page


def test_documented_table_matches_the_code():
    documented = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert table() in documented, "update the table: python -m bento.settings"
    for name in ServiceSettings.model_fields:
        assert f"`PRECIS_{name.upper()}`" in table()


@pytest.mark.parametrize(("device", "name"), [("cpu", "bundle-int8"), ("cuda", "bundle-fp16")])
def test_bundle_may_be_a_run_whose_fastest_bundle_is_served(read, tmp_path, device, name):
    for folder in ("bundle", "bundle-int8", "bundle-fp16"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "manifest.json").touch()
    assert read(BUNDLE=str(tmp_path), DEVICE=device).bundle == tmp_path / name
    assert read(BUNDLE=str(tmp_path / "bundle"), DEVICE=device).bundle == tmp_path / "bundle"
    assert read(BUNDLE=str(tmp_path / "none")).bundle == tmp_path / "none"
