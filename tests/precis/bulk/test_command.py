"""A bulk run from end to end: kills, interruptions, and what keeps it from starting."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from precis import EngineClosed
from precis.bulk.errors import BulkError
from tests.conftest import ROOT, gazette
from tests.support.bulk import SHORT, TEXTS, Backwards, bulk, lines, start_bulk


def test_a_long_text_is_split_truncated_or_rejected(tmp_path, bundle):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"document": gazette("validation")[0]["document"]}) + "\n")
    assert bulk(source, tmp_path / "split.jsonl", "--bundle", bundle) == 0
    assert lines(tmp_path / "split.jsonl")[0]["chunks"] > 1
    assert bulk(source, tmp_path / "cut.jsonl", "--bundle", bundle, "--long-text", "truncate") == 0
    assert lines(tmp_path / "cut.jsonl")[0]["truncated"] is True
    assert bulk(source, tmp_path / "refused.jsonl", "--bundle", bundle, "--long-text", "refuse") == 0
    assert (tmp_path / "refused.jsonl").read_bytes() == b""
    assert "the model reads 64" in lines(tmp_path / "refused.jsonl.rejects.jsonl")[0]["reason"]


def check_rows_after_kills(suffix, kills, folder, bundle):
    """Kills the command `kills` times, at random moments after its output was begun, lets it end, checks every row."""
    rows = [{"id": i, "document": TEXTS[i % len(TEXTS)] + str(i) if i % 50 else ""} for i in range(300 * kills)]
    source, out, partial = folder / f"in{suffix}", folder / f"out{suffix}", folder / f".out{suffix}.partial"
    frame = pd.DataFrame(rows)
    write = {".csv": lambda: frame.to_csv(source, index=False), ".parquet": lambda: frame.to_parquet(source)}
    write.get(suffix, lambda: frame.to_json(source, orient="records", lines=True))()
    draw, killed, continued, windows = random.Random(4), 0, 0, 0
    journal = partial / "journal.jsonl"
    while True:
        process = start_bulk(source, out, "--bundle", bundle)
        # Every second time at least two windows are to be written first, so that it gets on.
        aim = windows + (2 if killed % 2 else 0)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < aim):
            time.sleep(0.001)
        try:
            process.wait(draw.random() * 0.3 if killed < kills else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        stderr = process.communicate()[1]
        continued += "Continuing after" in stderr
        windows = journal.read_bytes().count(b"\n") if journal.exists() else 0
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, stderr
    assert killed >= kills // 2
    assert continued >= 1
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    output = read.get(suffix, lambda path: pd.read_json(path, lines=True))(out)
    with_text = [row for row in rows if row["document"]]
    assert output["id"].tolist() == [row["id"] for row in with_text]
    assert output["document"].tolist() == [row["document"] for row in with_text]
    rejects = lines(folder / f"out{suffix}.rejects.jsonl")
    assert [reject["row"] for reject in rejects] == list(range(1, len(rows) + 1, 50))
    assert {path.name for path in folder.iterdir()} == {source.name, out.name, f"{out.name}.rejects.jsonl"}


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
def test_after_a_kill_at_any_moment_no_row_is_lost_or_doubled(suffix, tmp_path, bundle):
    check_rows_after_kills(suffix, 3, tmp_path, bundle)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_killed_many_times(suffix, tmp_path, bundle):
    check_rows_after_kills(suffix, 15, tmp_path, bundle)


def test_an_interrupted_run_does_not_continue_with_other_settings(tmp_path, bundle, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"document": TEXTS[i % 60] + str(i)}) + "\n" for i in range(6000)))
    process = start_bulk(source, out, "--bundle", bundle)
    journal = tmp_path / ".out.jsonl.partial/journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        time.sleep(0.01)
    assert bulk(source, out, "--bundle", bundle) == 1
    assert "Another run is writing" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    assert "The same command continues" in process.communicate()[1]
    assert process.returncode == 130
    assert bulk(source, out, "--bundle", bundle, "--num-beams", "2") == 1
    assert "started with a different generation parameter" in capsys.readouterr().err
    source.touch()
    assert bulk(source, out, "--bundle", bundle) == 1
    assert "started with a different input" in capsys.readouterr().err
    assert not out.exists()


class Stopping(Backwards):
    """A stub engine that is closed after its first texts."""

    def __init__(self, texts: int) -> None:
        self.left = texts

    def submit(self, text, params):
        self.left -= 1
        if self.left < 0:
            raise EngineClosed("The engine was closed.")
        return super().submit(text, params)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl.gz", ".parquet"])
def test_a_run_continues_by_another_path_to_the_same_bytes(suffix, tmp_path, stub_run, monkeypatch):
    """Stopped again and again, named absolutely, relatively, by a link and as an address."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    frame = pd.DataFrame({"document": [f'text "{i}"\n' if i % 9 else "" for i in range(60)]})
    for name, part in (("a", frame[:28]), ("b", frame[:0]), ("c", frame[28:])):  # four whole windows, none, and others
        path = folder / f"{name}{suffix}"
        write = {".csv": part.to_csv, ".parquet": part.to_parquet}.get(suffix)
        write(path, index=False) if write else part.to_json(path, orient="records", lines=True)
    if suffix == ".csv":
        with (folder / "c.csv").open("a") as file:
            file.write('"open\n')
    expected = stub_run([folder], f"out{suffix}", folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    names = ["in", f"{tmp_path}/in/", "./link/../in", "link", f"file://{tmp_path}/in"]
    for tries in itertools.count():
        try:
            out = ("out", tmp_path / "out", f"file://{tmp_path}/out")[tries % 3]
            done = stub_run([names[tries % 5]], f"out{suffix}", folder=out, engine=lambda: Stopping(25))
            break
        except EngineClosed:
            assert tries < 20
    assert tries >= 2
    again = tmp_path / "out" / f"out{suffix}"
    assert again.read_bytes() == expected.out.read_bytes()
    rejects = [path.with_name(f"{path.name}.rejects.jsonl").read_bytes() for path in (again, expected.out)]
    assert rejects[0] == rejects[1]
    assert done.said.startswith(f"Rows: {60 + (suffix == '.csv')} read, ")


def test_the_output_is_none_of_the_inputs_and_names_are_not_mixed_up(tmp_path, stub_run, capsys):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"document": "x"}\n')
    (tmp_path / "c.txt").touch()
    with pytest.raises(BulkError, match=r"a\.jsonl is an input"):
        stub_run([tmp_path], "a.jsonl", folder=tmp_path)
    assert "2 written to" in stub_run([tmp_path], "out.jsonl", folder=tmp_path).said
    assert capsys.readouterr().err == f"Not read (1): {tmp_path}/c.txt\n"
    with pytest.raises(BulkError, match=r"nowhere://out\.jsonl cannot be written"):
        stub_run([tmp_path / "a.jsonl"], "out.jsonl", folder="nowhere:/")


def test_names_that_are_not_unicode_are_shown(tmp_path, stub_run):
    source = os.fsencode(tmp_path) + b"/\xff.jsonl"
    with open(source, "w") as file:
        file.write('{"document": ""}\n')
    done = stub_run([os.fsdecode(source)], os.fsdecode(b"\xfe.jsonl"))
    assert r"\udcfe.jsonl" in done.said
    assert done.rejects[0]["file"] == os.fsdecode(source)


def test_a_run_that_cannot_start_ends_with_one_sentence(tmp_path, bundle, capsys):
    def error_of(*arguments) -> str:
        assert bulk(*arguments) == 1
        error = capsys.readouterr().err.strip()
        assert "\n" not in error
        assert not list(tmp_path.glob(".*"))
        return error

    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a", "summary": "b"}\n')
    (tmp_path / "in.csv").write_text("id;document\n1;a\n")
    (tmp_path / "empty").mkdir()
    out, given = tmp_path / "out.jsonl", ("--bundle", bundle)
    assert "has no column document; name one of text, summary with --column" in error_of(source, out, *given)
    assert "a column summary already" in error_of(source, out, *given, "--column", "text")
    assert "one of id, document with" in error_of(tmp_path / "in.csv", tmp_path / "out.csv", *given, "--column", "text")
    assert "should be of one format" in error_of(tmp_path / "in.csv", out, *given)
    for name in ("score", "trust", "chunks"):
        assert f"adds a column {name} of its own" in error_of(source, out, *given, "--summary-column", name)
    assert "threads should be from 1 to 1024" in error_of(source, out, *given, "--threads", "-1", "--ray", "local")
    assert "There is no file" in error_of(tmp_path / "none*.jsonl", out, *given)
    assert "nor a folder with files" in error_of(tmp_path / "empty", out, *given)
    assert "should end in one of" in error_of(source, tmp_path / "out.txt", *given)
    assert "There is no bundle" in error_of(
        source, out, "--column", "text", "--summary-column", "s", "--bundle", "nowhere"
    )
    (tmp_path / "in.parquet").write_bytes(b"PAR1 no")
    assert "cannot be read as Parquet" in error_of(tmp_path / "in.parquet", tmp_path / "out.parquet", *given)
    out.touch()
    assert "already exists" in error_of(source, out, *given, "--column", "text", "--summary-column", "s")


def test_without_pyarrow_jsonl_works_and_parquet_names_the_extra(tmp_path, bundle):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"document": TEXTS[0]}) + "\n")
    program = """
import sys
sys.modules["pyarrow"] = None
from precis.cli import main
import precis.bulk.command
assert not {"torch", "transformers", "pandas", "ray"} & set(sys.modules)
sys.exit(main())
"""

    def call(*names):
        command = [
            sys.executable,
            "-c",
            program,
            "bulk",
            *(str(tmp_path / name) for name in names),
            "--bundle",
            bundle,
            *SHORT,
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    done = call("in.jsonl", "out.jsonl")
    assert done.returncode == 0, done.stderr
    (tmp_path / "in.parquet").touch()
    done = call("in.parquet", "out.parquet")
    assert done.returncode == 1
    assert "install the extra `bulk`" in done.stderr
