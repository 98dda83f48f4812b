"""A bundle opens only if its files are those of its manifest and their settings can be read."""

import json
import os
from pathlib import Path

import pytest

from precis.bundle.choose import choose_bundle
from precis.bundle.names import REQUIRED_FILES
from precis.bundle.verify import open_bundle
from precis.errors import BundleError
from tests.support.engines import LIMIT, seal

LONG_NAME = "a" * 300  # more than any file system takes


@pytest.fixture
def folder(tmp_path):
    """A sealed folder with the right files, of which nothing but the JSON is real."""
    for name in REQUIRED_FILES:
        (tmp_path / name).write_text('{"a": 1}')
    seal(tmp_path)
    return tmp_path


def test_an_intact_bundle_opens_with_its_settings(folder):
    bundle = open_bundle(str(folder))
    assert (bundle.folder, bundle.config, bundle.generation_config) == (folder, {"a": 1}, {"a": 1})
    assert bundle.manifest.max_input_tokens == LIMIT


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_tampered_or_missing_file_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b" ")
    with pytest.raises(BundleError, match=f"{name} is not the file the manifest describes: its SHA-256 differs"):
        open_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing from the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_manifest_has_to_list_every_required_file(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"does not list {name}"):
        open_bundle(folder)


@pytest.mark.parametrize("outside", ["../secret", "/etc/hostname", "folder/file"])
def test_a_manifest_may_not_list_files_outside_the_bundle(folder, outside):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][outside] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="which is outside the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "does not hold a JSON object"),
        ('{"a": NaN}', "is not valid JSON"),
        ('{"a": [-1e999]}', "is not valid JSON"),
        ('{"a": ' + "[" * 100_000, "is not valid JSON"),
    ],
    ids=["unfinished", "list", "NaN", "infinity", "deep"],
)
def test_settings_that_are_no_json_object_are_named(folder, content, reason):
    (folder / "config.json").write_text(content)
    seal(folder)
    with pytest.raises(BundleError, match=rf"config\.json {reason}"):
        open_bundle(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read: No such file"):
        open_bundle(folder)


def test_a_folder_that_cannot_be_looked_at_is_an_error_of_the_bundle():
    """Like one that this user may not read."""
    with pytest.raises(BundleError, match=f"{LONG_NAME}/bundle cannot be read: File name too long"):
        open_bundle(choose_bundle(Path(LONG_NAME), "cpu"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "."])
def test_a_file_that_may_not_be_read_is_named(folder, name):
    path = folder / name
    path.chmod(0)
    try:
        with pytest.raises(BundleError, match=f"{path}.* cannot be read: Permission denied"):
            open_bundle(choose_bundle(folder, "cpu"))
    finally:
        path.chmod(0o700)


def test_a_file_that_the_manifest_does_not_list_is_named(folder):
    (folder / "model.yaml").touch()  # BentoML's model store adds it
    open_bundle(folder)
    (folder / "extra.onnx").touch()
    with pytest.raises(BundleError, match=r"extra\.onnx does not belong to the bundle"):
        open_bundle(folder)
