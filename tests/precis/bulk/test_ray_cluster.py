"""The same rows by way of a Ray cluster of two workers, of which one is killed, and so is the command itself."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, gazette

pytest.importorskip("ray", reason="Ray is not installed: it is the extra `ray`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Both sides by a token: where a token lies in the home folder, ray start asks for it unasked.
TOKENS = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}


def processes(title: str) -> list[int]:
    """Those of Ray that call themselves `title`."""
    matches = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if name.startswith("ray::") and title in name:
            matches.append(int(folder.name))
    return matches


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster with two processors, whatever the machine has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    start = [*ray, "start", "--head", "--num-cpus=2", f"--port={port}", "--include-dashboard=false", "--block"]
    head = subprocess.Popen(
        [*start, "--object-store-memory=200000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        env=os.environ | TOKENS,
    )
    stderr = []
    for line in head.stdout:
        stderr.append(line)
        if "Ray runtime started" in line:
            break
    else:
        raise AssertionError(f"ray start did not come up: {''.join(stderr)}")
    yield f"127.0.0.1:{port}"
    os.killpg(head.pid, signal.SIGTERM)
    head.wait(60)


def start(source, out, bundle, *more) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "precis",
        "bulk",
        str(source),
        str(out),
        "--bundle",
        bundle,
        "--max-new-tokens",
        "6",
    ]
    return subprocess.Popen([*command, *more], cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | TOKENS)


def windows(out: Path) -> int:
    journal = out.with_name(f".{out.name}.partial") / "journal.jsonl"
    return journal.read_bytes().count(b"\n") - 2 if journal.exists() else 0


def test_a_cluster_writes_what_one_machine_writes_despite_kills(tiny_run, cluster, tmp_path):
    texts = [row["document"][: 60 + i % 200] for i, row in enumerate(gazette("train"))]
    folder = tmp_path / "in"
    folder.mkdir()
    for part in range(3):
        rows = [{"id": i, "document": texts[i % len(texts)] + str(i) if i % 97 else None} for i in range(2000)]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps({"part": part, **row}) + "\n" for row in rows))
    bundle, here, there = str(tiny_run / "bundle"), tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    process = start(folder, here, bundle)
    assert process.wait(120) == 0, process.stderr.read()

    process = start(folder, there, bundle, "--ray", cluster)
    while windows(there) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not there.exists()

    process = start(folder, there, bundle, "--ray", cluster)
    begun, killed = windows(there), 0
    while process.poll() is None and killed < 2:
        workers = processes("Summarizer")
        if windows(there) > begun + 2 * (killed + 1) and len(workers) == 2:
            os.kill(workers[killed], signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    stderr = process.communicate(timeout=240)[1]
    assert process.returncode == 0, stderr
    assert "Continuing after" in stderr
    assert killed >= 1
    assert there.read_bytes() == here.read_bytes()
    rejects = [path.with_name(f"{path.name}.rejects.jsonl").read_bytes() for path in (here, there)]
    assert rejects[0] == rejects[1]


def test_a_missing_cluster_is_one_sentence(tiny_run, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"document": "a"}\n')
    process = start(source, tmp_path / "out.jsonl", str(tiny_run / "bundle"), "--ray", "127.0.0.1:1")
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "No Ray cluster answers at 127.0.0.1:1: Connection refused." in stderr
    assert "Traceback" not in stderr


def test_the_cluster_names_a_damaged_file(tiny_run, cluster, tmp_path):
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress(b'{"document": "one two three"}\n' * 2000)[:-40])
    process = start(source, tmp_path / "out.jsonl", str(tiny_run / "bundle"), "--ray", cluster)
    stderr = process.communicate(timeout=240)[1]
    assert process.returncode == 1, stderr
    # Ray's own log, with a traceback, comes before it.
    assert f"{source} is cut short or damaged after row" in " ".join(stderr.split())
