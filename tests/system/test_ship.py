"""What is shipped: the packages and files of both images, image labels, and the checks before a start."""

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bento import __main__ as start
from bento import memory
from precis.bundle.choose import choose_bundle
from precis.bundle.manifest import Manifest
from tests.conftest import ROOT
from tools import image

SCORES = {"rouge1": 30.0, "rouge2": 10.0, "rougeL": 27.7, "rougeLsum": 27.7}
MANIFEST = Manifest.model_validate(
    {
        "format": 4,
        "prefix": "summarize: ",
        "max_input_tokens": 512,
        "files": {},
        "name": "mine",
        "created": "2026-01-02T03:04:05+00:00",
        "precision": "int8",
        "git_commit": {"finetune": "a" * 40, "export": "b" * 40},
        "base_model": {"name": "google-t5/t5-small", "revision": "df1b051", "sha256": None},
        "data": {"name": "EdinburghNLP/xsum", "revision": None, "train": None},
        "rouge": {"finetuned": SCORES},
        "parity": {"documents": 200, "identical_summaries": 199, "passed": True},
    }
)


def test_dockerfile_and_bento_install_only_the_serving_locks():
    """pyproject.toml lists what serving needs, make lock resolves it, and both images install just that."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "COPY requirements/serve-${DEVICE}.txt /lock.txt" in dockerfile
    assert re.findall(r"pip .*\binstall|apt-get|uv ", dockerfile) == ["pip --python /venv/bin/python install"]
    assert dockerfile.count("--requirement /lock.txt") == 1
    assert "--require-hashes" in dockerfile
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert bento["python"] == {"requirements_txt": "./requirements/serve-cpu.txt", "lock_packages": False}


def test_dockerfile_and_bento_agree_on_python_and_packages():
    dockerfile = (ROOT / "Dockerfile").read_text()
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert image.base_image(dockerfile)[0] == "python:3.11-slim-bookworm"
    assert re.findall(r"^FROM (\S+)", dockerfile, re.M)[1:] == ["base", "base"]
    assert bento["docker"]["python_version"] == "3.11"
    packages = {"precis", "bento"}
    assert set(re.findall(r"^COPY (\w+) \w+$", dockerfile, re.M)) == packages
    assert {entry.split("/")[0] for entry in bento["include"]} == packages | {"artifacts", "requirements"}


def test_bento_contains_the_bundle_chosen_for_cpu(tmp_path):
    packed = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["include"]
    for names in (["bundle"], ["bundle", "bundle-int8"]):
        for name in names:
            (tmp_path / name).mkdir(exist_ok=True)
        assert f"artifacts/embedded/{choose_bundle(tmp_path, 'cpu').name}/**" in packed
    assert "artifacts/embedded/bundle-base-int8/**" in packed, "the page compares the model with it"


def test_dockerfile_and_bento_disable_telemetry():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for entry in yaml.safe_load((ROOT / "bentofile.yaml").read_text())["envs"]:
        assert f"{entry['name']}={entry['value']} " in dockerfile


def test_digest_of_the_base_image_is_read_from_the_dockerfile():
    digest = f"sha256:{'a' * 64}"
    assert image.base_image(f"ARG A\nFROM python:3.11@{digest} AS base\nFROM base\n") == ("python:3.11", digest)
    assert image.base_image("FROM python:3.11 AS base\n") == ("python:3.11", None)


def test_image_labels_describe_the_model():
    labels = dict(image.labels(MANIFEST, "cpu"))
    model = {key.removeprefix("precis.model."): value for key, value in labels.items() if "model" in key}
    assert model == {
        "name": "mine",
        "created": "2026-01-02T03:04:05+00:00",
        "precision": "int8",
        "commit": "b" * 40,
        "base": "google-t5/t5-small",
        "base.revision": "df1b051",
        "data": "EdinburghNLP/xsum",
        "rougeL": "27.7",
        "parity.identical": "199",
        "parity.documents": "200",
    }
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("device", "present", "expected"),
    [
        ("cpu", {"bundle", "bundle-int8", "bundle-fp16"}, "bundle-int8"),
        ("cuda", {"bundle", "bundle-int8", "bundle-fp16"}, "bundle-fp16"),
        ("cpu", {"bundle", "bundle-fp16"}, "bundle"),
        ("cuda", {"bundle", "bundle-int8"}, "bundle"),
    ],
)
def test_device_gets_its_fastest_bundle(tmp_path, device, present, expected):
    for name in present:
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert choose_bundle(tmp_path, device).name == expected
    command = ["make", "--dry-run", "serve", f"RUN={tmp_path}", f"DEVICE={device}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'PRECIS_BUNDLE="{tmp_path}" PRECIS_DEVICE={device} ' in done.stdout


def test_stage_contains_current_bundles_only(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "STAGE", tmp_path / "stage")
    for name in ("bundle-int8", "bundle-base-int8", "bundle"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "manifest.json").write_text(name)
    image.stage(tmp_path / "run/bundle-int8")
    (tmp_path / "stage/bundle/older").touch()
    image.stage(tmp_path / "run/bundle-int8")
    staged = {str(path.relative_to(tmp_path / "stage")): path.read_text() for path in tmp_path.glob("stage/*/*")}
    assert staged == {"bundle/manifest.json": "bundle-int8", "bundle-base-int8/manifest.json": "bundle-base-int8"}


def test_bundle_of_another_file_system_is_copied(tmp_path, monkeypatch):
    def link(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(image, "STAGE", tmp_path / "stage")
    (tmp_path / "run/bundle").mkdir(parents=True)
    (tmp_path / "run/bundle/manifest.json").write_text("content")
    image.stage(tmp_path / "run/bundle")
    assert (tmp_path / "stage/bundle/manifest.json").read_text() == "content"


def image_error(run: Path, **environment: str) -> str:
    """The sentence with which no image is built."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.image", str(run)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr


def test_image_without_a_bundle_that_would_start_is_refused(tmp_path):
    bundle = tmp_path / "bundle"
    assert image_error(tmp_path) == f"There is no bundle folder {bundle}.\n"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{")
    assert image_error(tmp_path) == f"{bundle}/manifest.json is not valid JSON.\n"
    (bundle / "manifest.json").write_text('{"precision": "fp16"}')
    assert image_error(tmp_path) == f"{bundle} is an fp16 bundle; the device cpu takes int8 or fp32.\n"


def test_image_without_a_container_engine_is_refused(embedded):
    assert image_error(embedded, PATH="") == "There is no command docker, which builds the image.\n"


def start_service(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bento", "--port", environment.pop("port", "0")],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_start_on_taken_port_fails_with_one_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = start_service(port=port)
    assert done.returncode == 1
    assert done.stderr == f"Not started: Port {port} cannot be served on 127.0.0.1: address already in use.\n"


def test_start_with_unwritable_home_fails_with_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    done = start_service(BENTOML_HOME=str(tmp_path / "file/home"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Not started: {tmp_path}/file/home cannot be written to (not a directory)")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max", None),
        (str(520 << 20), None),
        (str(519 << 20), "This container may use 519 MiB of memory, and this bundle needs 520 MiB."),
    ],
)
def test_memory_check_compares_limit_with_bundle_size(tmp_path, monkeypatch, limit, expected):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in ("encoder_model.onnx", "weights.bin"):
        with (bundle / name).open("wb") as file:
            file.truncate(10 << 20)
    (tmp_path / "limit").write_text(f"{limit}\n")
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "nowhere", tmp_path / "limit"))
    monkeypatch.setattr(start, "BASE_MIB", 480)
    assert start.memory_problem(bundle) == expected


def test_start_with_too_little_memory_fails_with_one_sentence(tmp_path):
    (tmp_path / "limit").write_text(f"{64 << 20}\n")
    code = (
        "import sys, pathlib; from bento import memory, __main__ as start;"
        "memory.LIMITS = [pathlib.Path(sys.argv.pop())]"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(start.main())", "--port", "0", str(tmp_path / "limit")],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(tmp_path), "PRECIS_BUNDLE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    needs = f"this bundle needs {start.BASE_MIB} MiB"
    assert done.returncode == 1
    assert done.stderr == f"Not started: This container may use 64 MiB of memory, and {needs}.\n"


@pytest.mark.parametrize(
    ("port", "message"), [("70000", "--port should be from 0 to 65535"), ("x", "invalid int value")]
)
def test_invalid_port_is_a_usage_error(port, message):
    done = start_service(port=port)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_embedded_manifest_gives_image_labels(embedded):
    labels = dict(image.labels(Manifest.model_validate_json((embedded / "bundle/manifest.json").read_bytes()), "cpu"))
    assert re.fullmatch(r"[0-9a-f]{64}", labels["precis.model.base.sha256"])
