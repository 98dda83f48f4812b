"""A service that cannot start ends with one sentence and status 1, under either supervisor."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from benchmarks.server import BENTOML, START, Server
from bento.process import start
from bento.settings import ServiceSettings
from precis.bundle.choose import PRECISIONS, check_precision
from precis.errors import BundleError
from precis.scheduling.throughput import ThroughputEstimate
from precis.scheduling.work import DECODE_RATE
from tests.conftest import ROOT

BENTOML_SERVE = [BENTOML, "serve", "bento.service:Summarizer"]


def start_error(command: list[str], environment: dict[str, str]) -> str:
    """The sentence of a service that did not start."""
    done = subprocess.run(
        [*command, "--port", "0"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("Not started: ")
    return message.removeprefix("Not started: ")


@pytest.mark.parametrize("command", [START, BENTOML_SERVE], ids=["ours", "bentoml"])
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PRECIS_BUNDLE": "/nonexistent"}, "There is no bundle folder /nonexistent."),
        ({"PRECIS_ROWS": "3"}, "PRECIS_ROWS should be greater than or equal to 8."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_missing_bundle_or_invalid_setting(command, environment, message):
    assert start_error(command, environment) == message


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_impossible_host_name(host):
    message = start_error([*START, "--host", host], {})
    assert message == f"Port 0 cannot be served on {host}: this is no host name."


def test_link_to_nothing_in_a_bundle(tiny_run, tmp_path):
    bundle = shutil.copytree(tiny_run / "bundle", tmp_path / "bundle")
    (bundle / "config.json").unlink()
    (bundle / "config.json").symlink_to("/nonexistent")
    message = start_error(START, {"PRECIS_BUNDLE": str(bundle)})
    assert message == f"{bundle / 'manifest.json'} lists 'config.json', which is outside the bundle."


def test_unknown_device(tiny_run):
    environment = {"PRECIS_BUNDLE": str(tiny_run / "bundle"), "PRECIS_DEVICE": "tpu"}
    assert start_error(START, environment) == "The device is 'tpu'; it should be one of cpu, cuda."


@pytest.mark.parametrize("command", [START, BENTOML_SERVE], ids=["ours", "bentoml"])
def test_least_trust_without_a_certificate(command, embedded):
    """The fp32 bundle has none: it is not the one that a run's folder is served by."""
    environment = {"PRECIS_BUNDLE": str(embedded / "bundle"), "PRECIS_MIN_TRUST": "0.8"}
    message = f"PRECIS_MIN_TRUST needs a certificate of trust, and {embedded / 'bundle'} has none."
    assert start_error(command, environment) == message


def test_decoding_speed_is_known_from_the_start(embedded):
    """Of a bundle that extracts by default, too."""
    engine = start._load_engine(ServiceSettings(bundle=embedded / "bundle-int8"))
    try:
        assert engine._scheduler.costs.decode.per_second != ThroughputEstimate(*DECODE_RATE).per_second
    finally:
        engine.close()


def altered(bundle: Path, folder: Path, **manifest: str | int) -> Path:
    """A copy of the bundle with other values in its manifest."""
    copy = shutil.copytree(bundle, folder / "bundle")
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**content, **manifest}))
    return copy


def test_altered_bundle(tiny_run, tmp_path):
    bundle = altered(tiny_run / "bundle", tmp_path)
    with (bundle / "config.json").open("a") as file:
        file.write(" ")
    message = start_error(START, {"PRECIS_BUNDLE": str(bundle)})
    assert message == f"{bundle / 'config.json'} is not the file the manifest describes: its SHA-256 differs."


@pytest.mark.parametrize(
    ("tokens", "message"), [(0, "should be greater than or equal to 16"), (16, "is 16, and the prefix takes")]
)
def test_impossible_numbers_of_a_manifest(tiny_run, tmp_path, tokens, message):
    bundle = altered(
        tiny_run / "bundle",
        tmp_path,
        max_input_tokens=tokens,
        prefix="summarize this very long text in one short sentence: ",
    )
    assert f"max_input_tokens{'' if tokens else ':'} {message}" in start_error(START, {"PRECIS_BUNDLE": str(bundle)})


@pytest.mark.parametrize(
    ("precision", "device", "fitting"), [("fp16", "cpu", "int8 or fp32"), ("int8", "cuda", "fp16 or fp32")]
)
def test_precision_that_does_not_fit_the_device(tiny_run, tmp_path, precision, device, fitting):
    bundle = altered(tiny_run / "bundle", tmp_path, precision=precision)
    message = start_error(START, {"PRECIS_BUNDLE": str(bundle), "PRECIS_DEVICE": device})
    assert message == f"{bundle} is an {precision} bundle; the device {device} takes {fitting}."


def test_precisions_that_fit_and_bundles_without_one_are_accepted(tmp_path):
    for device, precisions in PRECISIONS.items():
        for precision in (*precisions, None):
            (tmp_path / "manifest.json").write_text(json.dumps({"precision": precision}))
            check_precision(tmp_path, device)
    (tmp_path / "manifest.json").write_text('{"precision": "fp16"}')
    with pytest.raises(BundleError):
        check_precision(tmp_path, "cpu")


def test_worker_killed_before_it_was_ready_is_not_replaced(tiny_run, tmp_path):
    running = Server(START, ROOT, tiny_run / "bundle", tmp_path, {"PRECIS_PAGE": "false"})
    try:
        while not (workers := psutil.Process(running.process.pid).children()):
            assert running.process.poll() is None
        workers[0].kill()
        assert running.process.wait(120) == 1
        message = running.log.read_text().strip().splitlines()[-1]
        assert message.startswith("Not started: the worker was ended by SIGKILL before it was ready.")
    finally:
        running.stop()


def test_supervisor_imports_no_slow_modules():
    """The worker would start only after them, and then import the same."""
    done = subprocess.run(
        [START[0], "-c", "import sys, bento.__main__; print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True
    )
    assert not {"bentoml", "pydantic", "numpy", "onnxruntime", "gradio", "asyncio", "precis.engine"} & set(
        done.stdout.split()
    )
    assert "bento.process.supervisor" in done.stdout.split()
