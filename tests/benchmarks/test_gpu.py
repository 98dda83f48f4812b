"""make gpu-check: parts that resume and fail separately, and keep their results when they are stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu
from tests.conftest import ROOT

MACHINE = {
    "device": "NVIDIA H100 80GB HBM3",
    "slug": "nvidia-h100-80gb-hbm3",
    "cores": 16,
    "software": {"torch": "2.11.0"},
}


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(gpu, "describe", lambda device: MACHINE)


def check(tmp_path, *parts: str) -> dict:
    """The results file after a check of `parts`, with the exit status."""
    status = gpu.check(list(parts), "cpu", tmp_path / "scratch", tmp_path, tmp_path / "gpu.md")
    return {"status": status, **json.loads((tmp_path / f"gpu-{MACHINE['slug']}.json").read_text())}


def test_part_with_a_result_is_skipped_and_failed_part_is_measured_again(machine, monkeypatch, tmp_path):
    started = []

    def run(part, *_):
        started.append(part)
        return {"seconds": 1.0, **({"failed": "It broke.", "log": ["why"]} if part == "parity" else {})}

    monkeypatch.setattr(gpu, "run", run)
    assert check(tmp_path, "finetune", "parity", "service")["status"] == 1
    content = check(tmp_path, "finetune", "parity", "service", "engine")
    assert started == ["finetune", "parity", "service", "parity", "engine"]
    assert content["parts"]["parity"]["failed"] == "It broke."
    # Results of other software are discarded.
    monkeypatch.setattr(gpu, "describe", lambda device: {**MACHINE, "software": {"torch": "2.13.0"}})
    assert check(tmp_path, "service")["parts"].keys() == {"service"}


def test_killed_check_keeps_its_results_and_resumes(machine, monkeypatch, tmp_path):
    def killed(part, *_):
        if part == "parity":
            raise KeyboardInterrupt
        return {"seconds": 1.0}

    monkeypatch.setattr(gpu, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, "finetune", "parity")
    monkeypatch.setattr(gpu, "run", lambda part, *_: {"seconds": 2.0})
    content = check(tmp_path, "finetune", "parity")
    assert {part: row["seconds"] for part, row in content["parts"].items()} == {"finetune": 1.0, "parity": 2.0}


def test_stopped_part_goes_on_from_its_results(monkeypatch, tmp_path):
    """The results so far are kept while it runs, as if it was interrupted then."""
    popen, kept = subprocess.Popen, []
    place = str(tmp_path / "engine.json")
    program = f"""
import json, pathlib, time
place = pathlib.Path({place!r})
rows = json.loads(place.read_text()) | {{"2": 20}}
place.write_text(json.dumps(rows))
time.sleep(1)
"""
    monkeypatch.setattr(gpu, "KEEP_SECONDS", 0.1)
    monkeypatch.setattr(
        gpu.subprocess, "Popen", lambda command, **options: popen([sys.executable, "-c", program], **options)
    )
    row = gpu.run("engine", "cpu", tmp_path, 60, {"1": 10}, kept.append)
    assert row["results"] == {"1": 10, "2": 20}
    assert "failed" not in row
    assert {"results": {"1": 10, "2": 20}, "failed": gpu.INTERRUPTED}.items() <= kept[-2].items()


@pytest.mark.parametrize(
    ("program", "limit", "row"),
    [
        ("print('x\\nwhy'); raise SystemExit(3)", 60, {"failed": "It ended with status 3.", "log": ["x", "why"]}),
        ("import time; print('begun', flush=True); time.sleep(99)", 3, {"failed": "It was stopped after 3 s."}),
        ("print('all went well')", 60, {}),
    ],
)
def test_outcome_of_a_part_is_reported_with_its_results(monkeypatch, tmp_path, program, limit, row):
    popen = subprocess.Popen
    write = f"import pathlib; pathlib.Path({str(tmp_path / 'engine.json')!r}).write_text('[7]')\n"
    monkeypatch.setattr(
        gpu.subprocess, "Popen", lambda command, **options: popen([sys.executable, "-c", write + program], **options)
    )
    began = time.monotonic()
    outcome = gpu.run("engine", "cpu", tmp_path, limit)
    assert time.monotonic() - began < 30
    assert outcome["results"] == [7]
    assert row.items() <= outcome.items()
    assert ("failed" in outcome) == ("failed" in row)


def test_part_whose_packages_are_missing_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "find_spec", lambda package: None if package == "aiohttp" else object())
    assert gpu.run("service", "cpu", tmp_path, 60) == {"seconds": 0.0, "skipped": "aiohttp is not installed."}


@pytest.mark.slow
def test_interrupted_part_ends_what_it_started_and_keeps_its_results(machine, monkeypatch, tmp_path):
    # A part with a child that an ordinary SIGTERM to the group would end first, which the part would report as a
    # failure.
    program = f"""
import json, os, pathlib, signal, subprocess, sys, time
from benchmarks import gpu
signal.signal(signal.SIGTERM, gpu._exit)
child = subprocess.Popen(["sleep", "99"])
place = pathlib.Path({str(tmp_path / "scratch" / "engine.json")!r})
results = {{"source_tokens": 1, "new_tokens": 1, "rounds": 1, "greedy": {{"fp16": {{"1": 7}}}}}}
place.write_text(json.dumps(results))
os.kill(os.getppid(), signal.SIGINT)
try:
    time.sleep(99)
except SystemExit:
    time.sleep(0.5)
    alive = child.poll() is None
    place.write_text(json.dumps({{**results, "child": child.pid, "alive": alive}}))
"""
    popen = subprocess.Popen
    monkeypatch.setattr(
        gpu.subprocess, "Popen", lambda command, **options: popen([sys.executable, "-c", program], **options)
    )
    monkeypatch.setattr(gpu, "git_commit", lambda: None)  # which starts a process, too
    # Whoever starts the suite in the background may have it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        content = check(tmp_path, "engine", "service")
    finally:
        signal.signal(signal.SIGINT, before)
    assert content["status"] == 130
    assert content["parts"].keys() == {"engine"}
    row = content["parts"]["engine"]
    assert row["failed"] == gpu.INTERRUPTED
    assert row["results"]["alive"]
    assert (
        not Path(f"/proc/{row['results']['child']}/cmdline").exists()
        or not Path(f"/proc/{row['results']['child']}/cmdline").read_bytes()
    )
    assert "| fp16 | 7.0 |" in (tmp_path / "gpu.md").read_text()


def test_machine_without_a_gpu_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("PyTorch sees no NVIDIA GPU here")
