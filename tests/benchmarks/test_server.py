"""The server launcher that tests and benchmarks share."""

import sys

import pytest

from benchmarks.server import Server, ServerError

HTTP = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


def test_server_is_started_measured_and_stopped(tmp_path):
    (tmp_path / "readyz").write_text("yes")
    with Server(HTTP, tmp_path, None, tmp_path / "home", cores=[0], port_argument="{port}") as server:
        assert 0 < server.wait_until_ready(30) < 30
        assert server.memory() > 1 << 20
        assert server.process.poll() is None
    assert server.process.poll() is not None


def test_server_that_ends_is_an_error_with_its_log(tmp_path):
    server = Server([sys.executable, "-c", "print('no bundle')"], tmp_path, None, tmp_path)
    with pytest.raises(ServerError, match=r"(?s)ended.*no bundle"):
        server.wait_until_ready(30)
    server.stop()


def test_bundle_replaces_the_variable_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("PRECIS_BUNDLE", "/of/the/shell")
    program = [sys.executable, "-c", "import os; print(os.environ.get('PRECIS_BUNDLE'), os.environ['EXTRA'])"]
    for bundle, printed in ((None, "None 1\n"), (tmp_path / "bundle", f"{tmp_path / 'bundle'} 1\n")):
        server = Server(program, tmp_path, bundle, tmp_path, {"EXTRA": "1"})
        server.process.wait(30)
        assert server.log.read_text() == printed
        server.stop()
