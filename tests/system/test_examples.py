"""The examples are run as their readers would run them."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*command: str, seconds: float = 120) -> str:
    """Output of a command that has to succeed, with this interpreter's `python` and `precis` first on the path."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_client_summarizes_one_text_a_batch_and_a_stream(service):
    lines = run(sys.executable, "examples/client.py", service.url).splitlines()
    summary, streamed = lines[0], lines[-1]
    assert summary == streamed
    assert sum(line.startswith("  supported by: ") for line in lines) >= 1
    assert sum(line.startswith("- ") for line in lines) == 3


@pytest.mark.parametrize(
    "arguments",
    [("http://127.0.0.1:9",), ("http://127.0.0.1:9", "no such file"), ("http://127.0.0.1:9", "docs/images/page.png")],
    ids=["no service", "no file", "not UTF-8"],
)
def test_client_prints_one_sentence_for_what_cannot_be_done(arguments):
    command = [sys.executable, "examples/client.py", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b'{"detail": "no"}', b""])
def test_client_prints_one_sentence_for_an_answer_of_a_proxy(body):
    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(502)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "examples/client.py", f"http://127.0.0.1:{server.server_port}"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        server.shutdown()
    assert (result.returncode, result.stderr) == (1, "502 http_error: Bad Gateway\n")


def test_batch_job_adds_a_summary_to_every_line(embedded, tmp_path):
    source, out = ROOT / "examples/documents.jsonl", tmp_path / "summaries.jsonl"
    run("examples/batch_job.sh", str(embedded / "bundle"), str(source), str(out))
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [json.loads(line)["id"] for line in source.read_text().splitlines()]
    assert all(row["summary"] for row in rows)


@pytest.mark.slow  # test_readme.py runs the same steps
def test_own_data_from_pairs_to_a_summary(tmp_path):
    own = tmp_path / "own"
    output = run("examples/own_data/run.sh", "examples/pairs.csv", str(own), "training.max_steps=2", seconds=500)
    assert (own / "bundle/manifest.json").is_file()
    assert "== 4. Summarize\n" in output
