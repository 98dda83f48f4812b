"""A built image, run as an operator would run it: `make image-test` sets PRECIS_IMAGE. Needs a container engine."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.conftest import gazette

IMAGE = os.environ.get("PRECIS_IMAGE", "")
pytestmark = pytest.mark.skipif(not IMAGE, reason="PRECIS_IMAGE is not set; make image-test sets it")

RESTRICTIONS = [
    *("--read-only", "--tmpfs", "/tmp", "--user", "1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--memory", "1g", "--pids-limit", "256"),
]


@pytest.fixture(autouse=True, scope="module")
def gpus():
    """Adds a GPU for an image that needs one."""
    if inspect(IMAGE)["Config"]["Labels"]["precis.device"] == "cuda":
        RESTRICTIONS.extend(["--gpus", "all"])


def docker(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)


def inspect(name: str) -> dict:
    return json.loads(docker("inspect", name).stdout)[0]


@contextmanager
def container(*arguments: str) -> Iterator[tuple[str, str]]:
    """Starts a restricted container; yields its name and URL."""
    started = docker("run", "--detach", "--publish", "127.0.0.1::3000", *RESTRICTIONS, *arguments, IMAGE)
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    try:
        port = inspect(name)["NetworkSettings"]["Ports"]["3000/tcp"][0]["HostPort"]
        yield name, f"http://127.0.0.1:{port}"
    finally:
        docker("rm", "--force", name)


def wait_until_ready(url: str, seconds: float = 60) -> float:
    """Seconds until /readyz answers 200."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return time.monotonic() - began
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise AssertionError(f"not ready after {seconds} s")


def summarize(url: str, **body) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{url}/summarize", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def running():
    with container() as (name, url):
        print(f"ready after {wait_until_ready(url):.1f} s")
        yield name, url


def inside(name: str, command: str) -> str:
    return docker("exec", name, "sh", "-c", command).stdout.strip()


def test_image_size():
    """The CUDA libraries alone are larger than the CPU image."""
    image = inspect(IMAGE)
    assert image["Size"] <= {"cpu": 600e6, "cuda": 4e9}[image["Config"]["Labels"]["precis.device"]]


def test_image_labels_match_the_served_model(running):
    labels = inspect(IMAGE)["Config"]["Labels"]
    for name in ("title", "description", "licenses", "revision", "base.name"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert inspect(IMAGE)["Config"]["User"] == "1000"
    with urllib.request.urlopen(f"{running[1]}/model") as answer:
        manifest = json.load(answer)
    assert labels["precis.model.name"] == manifest["name"]
    assert labels["precis.model.precision"] == manifest["precision"]
    assert labels["precis.model.base.sha256"] == manifest["base_model"]["sha256"]
    assert labels["precis.model.data.sha256"] == manifest["data"]["train_sha256"]


def test_image_has_no_root_compiler_installer_or_training_packages(running):
    name, _ = running
    assert inside(name, "id -u") == "1000"
    assert inside(name, "command -v gcc cc git pip pip3 uv curl wget") == ""
    assert inside(name, "touch /app/x 2>/dev/null; ls /app/x 2>/dev/null") == ""
    listed = inside(name, "ls /venv/lib/python3.11/site-packages /app")
    assert "onnxruntime" in listed
    assert not {"torch", "transformers", "optimum", "peft", "finetune", "export", "tests"} & set(listed.split())


def test_health_check_passes(running):
    name, _ = running
    end = time.monotonic() + 30
    while inspect(name)["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < end, inspect(name)["State"]["Health"]
        time.sleep(0.2)


def test_sigterm_finishes_running_requests():
    documents = [row["document"] for row in gazette("validation")[:8]]
    patience = ("--env", "PRECIS_GRACE_SECONDS=200", "--env", "PRECIS_TIMEOUT_SECONDS=200")
    with container(*patience) as (name, url), ThreadPoolExecutor(8) as pool:
        wait_until_ready(url)
        options = {"mode": "write", "num_beams": 8, "max_new_tokens": 128, "min_new_tokens": 128}
        answers = [pool.submit(summarize, url, text=text, **options) for text in documents]
        time.sleep(0.5)
        assert not all(answer.done() for answer in answers)
        docker("stop", "--time", "250", name, timeout=260)
        assert all(answer.result()[0] == 200 for answer in answers)
        state = inspect(name)["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_stated_memory_suffices_under_load():
    """The memory that the start check demands, with the page loaded and every row of the engine in use."""
    refused = docker("run", "--rm", *RESTRICTIONS, "--memory", "256m", IMAGE)
    limit = re.search(r"needs (\d+) MiB", refused.stderr)[1] + "m"
    documents = [row["document"] * 3 for row in gazette("validation")[:64]]
    limits = ("--memory", limit, "--memory-swap", limit, "--env", "PRECIS_TIMEOUT_SECONDS=300")
    with container(*limits) as (name, url), ThreadPoolExecutor(32) as pool:
        wait_until_ready(url)
        urllib.request.urlopen(f"{url}/ui/", timeout=60).close()
        options = {"mode": "write", "num_beams": 4, "max_new_tokens": 64}
        answers = list(pool.map(lambda text: summarize(url, text=text, **options), documents))
        assert all(status == 200 for status, _ in answers)
        assert not inspect(name)["State"]["OOMKilled"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "PRECIS_BUNDLE=/nowhere"], "There is no bundle folder /nowhere."),
        (["--env", "PRECIS_DEVICE=cuda"], "The device is cuda|an int8 bundle; the device cuda"),
        (["--env", "BENTOML_HOME=/app/cache"], "/app/cache cannot be written to"),
        (["--memory", "256m"], "This container may use 256 MiB of memory"),
    ],
)
def test_failed_start_prints_one_sentence(arguments, message):
    done = docker("run", "--rm", *RESTRICTIONS, *arguments, IMAGE)
    assert done.returncode not in (0, 137), done.stderr
    assert done.stderr.startswith("Not started: ")
    assert re.search(message, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1


def test_taken_port_prints_one_sentence(running):
    name, _ = running
    done = docker("run", "--rm", "--network", f"container:{name}", *RESTRICTIONS, IMAGE)
    assert done.returncode == 1
    assert done.stderr.strip() == "Not started: Port 3000 cannot be served on 0.0.0.0: address already in use."
