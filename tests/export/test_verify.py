"""Bundles that do or do not match their manifest and signature, by the commands and at load."""

import json
import shutil
import subprocess

import onnx
import pytest

from export.__main__ import main
from precis.bundle.manifest import sha256
from precis.bundle.names import MANIFEST
from precis.bundle.verify import open_bundle
from precis.errors import BundleError


@pytest.fixture
def bundle(tiny_run, tmp_path):
    return shutil.copytree(tiny_run / "bundle", tmp_path / "bundle")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two key pairs as OpenSSL makes them."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other"):
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return folder


def test_verify_prints_where_the_bundle_comes_from(bundle, capsys):
    assert main(["verify", str(bundle)]) == 0
    output = capsys.readouterr().out
    assert "fp32" in output
    assert "parity passed on 64 documents" in output


def alter(bundle, how):
    if how == "a changed byte":
        with (bundle / "shared.onnx_data").open("r+b") as file:
            file.seek(5000)
            byte = file.read(1)[0]
            file.seek(5000)
            file.write(bytes([byte ^ 1]))
    elif how == "an unknown file":
        (bundle / "extra.onnx").write_bytes(b"x")
    elif how == "an unknown folder":
        (bundle / "more").mkdir()
    elif how == "a missing file":
        (bundle / "tokenizer.json").unlink()
    else:
        (bundle / "shared.onnx_data").rename(bundle.parent / "shared.onnx_data")
        (bundle / "shared.onnx_data").symlink_to(bundle.parent / "shared.onnx_data")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("a changed byte", "shared.onnx_data"),
        ("an unknown file", "extra.onnx"),
        ("an unknown folder", "more"),
        ("a missing file", "tokenizer.json"),
        ("a link that leads out", "shared.onnx_data"),
    ],
)
def test_altered_bundle_is_one_sentence_that_names_the_file(bundle, how, named, capsys):
    alter(bundle, how)
    assert main(["verify", str(bundle)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    with pytest.raises(BundleError, match=named):
        open_bundle(bundle)


def test_file_that_bentoml_adds_to_its_store_is_allowed(bundle):
    (bundle / "model.yaml").write_text("name: precis\n")
    open_bundle(bundle)


def test_graph_that_reads_outside_the_bundle_is_refused(bundle, capsys):
    """Also with a manifest that fits; ONNX Runtime refuses to load such a graph as well."""
    shutil.copy(bundle / "shared.onnx_data", bundle.parent / "shared.onnx_data")
    graph = onnx.load(bundle / "decoder_model_merged.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../shared.onnx_data"
    (bundle / "decoder_model_merged.onnx").write_bytes(graph.SerializeToString())
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["decoder_model_merged.onnx"] = sha256(bundle / "decoder_model_merged.onnx")
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    assert main(["verify", str(bundle)]) == 1
    assert "'../shared.onnx_data'" in capsys.readouterr().err
    from precis import Engine

    with pytest.raises(BundleError, match="escapes model directory"):
        Engine.load(bundle)


def test_signed_bundle_opens_with_its_own_key_only(bundle, keys, monkeypatch, capsys):
    monkeypatch.setenv("PRECIS_PUBLIC_KEY", str(keys / "ours.pub"))
    with pytest.raises(BundleError, match="is not signed"):
        open_bundle(bundle)
    monkeypatch.delenv("PRECIS_PUBLIC_KEY")
    assert main(["sign", str(bundle), "--key", str(keys / "ours.pem")]) == 0
    open_bundle(bundle)  # without a key the signature is ignored
    assert main(["verify", str(bundle), "--key", str(keys / "ours.pub")]) == 0
    monkeypatch.setenv("PRECIS_PUBLIC_KEY", str(keys / "ours.pub"))
    open_bundle(bundle)
    monkeypatch.setenv("PRECIS_PUBLIC_KEY", str(keys / "other.pub"))
    with pytest.raises(BundleError, match="not a signature of this manifest"):
        open_bundle(bundle)


def test_manifest_changed_after_signing_is_refused(bundle, keys, monkeypatch):
    assert main(["sign", str(bundle), "--key", str(keys / "ours.pem")]) == 0
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "prefix": "lie: "}))
    monkeypatch.setenv("PRECIS_PUBLIC_KEY", str(keys / "ours.pub"))
    with pytest.raises(BundleError, match="not a signature of this manifest"):
        open_bundle(bundle)


@pytest.mark.parametrize("key", ["missing.pem", "ours.pub", "rsa.pem"])
def test_key_that_cannot_sign_is_one_sentence(bundle, keys, key, capsys):
    if key == "rsa.pem":
        subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", keys / key, "-quiet"], check=True)
    assert main(["sign", str(bundle), "--key", str(keys / key)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert key in error
    assert not (bundle / "manifest.sig").exists()


def test_unreadable_public_key_keeps_a_bundle_from_loading(bundle, keys, monkeypatch):
    for key, reason in (("ours.pem", "cannot be read"), ("missing", "No such file")):
        monkeypatch.setenv("PRECIS_PUBLIC_KEY", str(keys / key))
        with pytest.raises(BundleError, match=reason):
            open_bundle(bundle)
