"""Manifests: what is wrong is named, and what is read can be written back."""

from pathlib import Path

import pytest

from precis.bundle.manifest import FORMAT, parse_manifest, sha256
from precis.errors import BundleError

PATH = Path("bundle/manifest.json")
CONTENT = {"format": FORMAT, "prefix": "summarize: ", "max_input_tokens": 96, "files": {"config.json": "0"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, rf"has format 2; this version of Precis reads format {FORMAT}\."),
        ({"format": None}, "has format None"),
        ({"prefix": None}, r"prefix: should be a valid string\."),
        ({"training_seconds": -1.0}, r"training_seconds: should be greater than or equal to 0\."),
        ({"max_input_tokens": "many"}, r"max_input_tokens: should be a valid integer"),
        ({"max_input_tokens": 0}, r"max_input_tokens: should be greater than or equal to 16\."),
        ({"max_input_tokens": -512}, r"max_input_tokens: should be greater than or equal to 16\."),
        ({"max_input_tokens": 10**9}, r"max_input_tokens: should be less than or equal to 32768\."),
        ({"max_input_tokens": 99.5}, r"max_input_tokens: should be a valid integer"),
        ({"files": {"config.json": 5}}, r"files\.config\.json: should be a valid string"),
        ({"parity": {"documents": 3, "identical_summaries": 3}}, r"lacks the key parity\.passed\."),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(BundleError, match=message) as error_info:
        parse_manifest({**CONTENT, **change}, PATH)
    assert str(error_info.value).startswith(str(PATH))


@pytest.mark.parametrize("key", ["prefix", "max_input_tokens", "files"])
def test_a_missing_key_is_named(key):
    content = {name: value for name, value in CONTENT.items() if name != key}
    with pytest.raises(BundleError, match=f"lacks the key {key}"):
        parse_manifest(content, PATH)


def test_a_manifest_is_written_as_it_was_read_with_unknown_keys():
    content = {**CONTENT, "name": "embedded", "new_key": {"a": 1}, "rouge": {"lead": None, "more": 2}}
    assert parse_manifest(content, PATH).as_json() == content


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
