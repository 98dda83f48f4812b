"""Many documents: every row once and in order, other columns untouched, whatever is bad or kills the run."""

import bz2
import csv
import datetime
import functools
import gzip
import json
import lzma
import pickle
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from precis import Engine, GenerationParams
from precis.bulk import run as bulk_run
from precis.bulk.cli import main
from precis.bulk.files import find
from precis.bulk.ray_cluster import Summarizer
from precis.bulk.rows import Columns, format_of
from tests.conftest import ROOT, gazette

ADDED = ["summary", "input_tokens", "output_tokens", "chunks", "truncated", "truncated_tokens", "finish_reason"]
TEXTS = [row["document"][: 40 + 29 * (i % 13)] for i, row in enumerate(gazette("validation")[:60])]
SHORT = ["--max-new-tokens", "6"]


@pytest.fixture(scope="module")
def bundle(tiny_run) -> str:
    return str(tiny_run / "bundle")


@pytest.fixture(scope="module")
def expected(bundle) -> dict[str, str]:
    """The engine's own summary of every text."""
    engine = Engine.load(bundle, threads=2)
    found = engine.generate(TEXTS, GenerationParams(max_new_tokens=6))
    engine.close()
    assert len({summary.text for summary in found}) > 5
    return {text: summary.text for text, summary in zip(TEXTS, found, strict=True)}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Several windows even of a few rows."""
    monkeypatch.setattr(bulk_run, "ROWS", 7)


def bulk(*arguments) -> int:
    return main([*map(str, arguments), *SHORT])


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_lines_stay_as_they_are_and_bad_ones_are_told(tmp_path, bundle, expected):
    good = [
        f'{{"n": 1.00, "id":"{i:03}",  "document": {json.dumps(text)}, "é": null }}' for i, text in enumerate(TEXTS)
    ]
    bad = {
        "not json": "The line is not valid JSON.",
        "[1]": "The line is not a JSON object.",
        '{"id": 1}': "The row has no document.",
        '{"document": 5}': "document is not text.",
        '{"document": " \\n"}': "document is empty.",
        '{"document": "a \\ud800 b"}': "document has a surrogate by itself, which is no character.",
        '{"document": "a", "chunks": 2}': "The row has a column chunks already.",
    }
    written, rows = [], iter(good)
    for line in bad:
        written += [next(rows), line, next(rows), ""]
    written += rows
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(written).encode() + b'\n{"document": "\xff"}')
    assert bulk(source, out, "--bundle", bundle) == 0
    found = out.read_text(encoding="utf-8").splitlines()
    assert [line.split(', "summary": ')[0] for line in found] == [line[:-1].rstrip() for line in good]
    for line, text in zip(lines(out), TEXTS, strict=True):
        assert list(line) == ["n", "id", "document", "é", *ADDED]
        assert line["summary"] == expected[text]
    rejects = lines(tmp_path / "out.jsonl.rejects.jsonl")
    assert {reject["content"]: reject["reason"] for reject in rejects[:-1]} == bad
    assert rejects[-1]["reason"] == "The line is not UTF-8."
    assert [reject["row"] for reject in rejects[:3]] == [2, 6, 10]
    assert not list(tmp_path.glob(".*"))


def test_csv_values_stay_the_text_they_were(tmp_path, bundle, expected):
    rows = [{"id": f"{i:03}", "text": f'{text}\n"so, it" said', "x": "1.50, ☃"} for i, text in enumerate(TEXTS[:20])]
    folder = tmp_path / "in"
    folder.mkdir()
    for name, part in (("b.csv", rows[12:]), ("a.csv", rows[:12])):
        pd.DataFrame(part).to_csv(folder / name, index=False)
    with (folder / "b.csv").open("a") as file:
        file.write('1,2\n3,"b"c",4\n')
    (folder / "_SUCCESS").touch()
    out = tmp_path / "out.csv"
    assert bulk(folder, out, "--bundle", bundle, "--column", "text", "--summary-column", "gist") == 0
    found = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert found[["id", "text", "x"]].to_dict("records") == rows
    assert list(found.columns) == ["id", "text", "x", "gist", *ADDED[1:]]
    assert set(found["truncated"]) == {"false"}
    reasons = [reject["reason"] for reject in lines(tmp_path / "out.csv.rejects.jsonl")]
    assert reasons[0] == "The record has 2 values for 3 columns."
    assert reasons[1].startswith("The record is not valid CSV: ")


def test_parquet_types_stay_as_they_are(tmp_path, bundle, expected):
    texts = [*TEXTS[:30], None, ""]
    table = pa.table(
        {
            "id": pa.array(range(32), pa.uint8()),
            "when": pa.array(
                [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 32, pa.timestamp("us", "Europe/Paris")
            ),
            "tags": pa.array([["a"], None] * 16, pa.list_(pa.string())),
            "kind": pa.array(["x", "y"] * 16).dictionary_encode(),
            "document": pa.array(texts, pa.large_string()),
        },
        metadata={"made": "by hand"},
    )
    pq.write_table(table[:20], tmp_path / "1.parquet", row_group_size=6)
    pq.write_table(table[20:], tmp_path / "2.parquet")
    out = tmp_path / "out.parquet"
    assert bulk(tmp_path / "?.parquet", out, "--bundle", bundle) == 0
    found = pq.read_table(out)
    assert found.drop_columns(ADDED).equals(table[:30])
    assert found["summary"].to_pylist() == [expected[text] for text in TEXTS[:30]]
    assert found.schema.field("truncated").type == pa.bool_()
    rejects = lines(tmp_path / "out.parquet.rejects.jsonl")
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [
        (11, "The row has no document."),
        (12, "document is empty."),
    ]
    assert rejects[0]["content"]["id"] == 30


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files(suffix, tmp_path, bundle, expected):
    codec = pa.Codec("zstd")
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": codec.compress}[suffix]
    halves = [
        "".join(json.dumps({"document": text}) + "\n" for text in part).encode() for part in (TEXTS[:9], TEXTS[9:20])
    ]
    source, out = tmp_path / f"in.jsonl{suffix}", tmp_path / f"out.jsonl{suffix}"
    source.write_bytes(b"".join(bytes(pack(half)) for half in halves))
    assert bulk(source, out, "--bundle", bundle) == 0
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(suffix)
    data = unpack(out.read_bytes()) if unpack else pa.input_stream(str(out), compression="zstd").read()
    assert [json.loads(line)["summary"] for line in data.splitlines()] == [expected[text] for text in TEXTS[:20]]


def test_a_long_text_is_split_cut_or_rejected(tmp_path, bundle):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"document": gazette("validation")[0]["document"]}) + "\n")
    assert bulk(source, tmp_path / "split.jsonl", "--bundle", bundle) == 0
    assert lines(tmp_path / "split.jsonl")[0]["chunks"] > 1
    assert bulk(source, tmp_path / "cut.jsonl", "--bundle", bundle, "--long-text", "truncate") == 0
    assert lines(tmp_path / "cut.jsonl")[0]["truncated"] is True
    assert bulk(source, tmp_path / "refused.jsonl", "--bundle", bundle, "--long-text", "refuse") == 0
    assert (tmp_path / "refused.jsonl").read_bytes() == b""
    assert "the model reads 64" in lines(tmp_path / "refused.jsonl.rejects.jsonl")[0]["reason"]


PROGRAM = """
import sys
from precis.bulk import run
from precis.bulk.cli import main
run.ROWS = 40
sys.exit(main())
"""


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments), *SHORT]
    # A shell's background job ignores SIGINT, and what it starts would too.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=default)


def killed_again_and_again(suffix, kills, folder, bundle):
    """Kills the command `kills` times, at random moments after its output was begun, lets it end, checks every row."""
    rows = [{"id": i, "document": TEXTS[i % len(TEXTS)] + str(i) if i % 50 else ""} for i in range(300 * kills)]
    source, out, partial = folder / f"in{suffix}", folder / f"out{suffix}", folder / f".out{suffix}.partial"
    frame = pd.DataFrame(rows)
    write = {".csv": lambda: frame.to_csv(source, index=False), ".parquet": lambda: frame.to_parquet(source)}
    write.get(suffix, lambda: frame.to_json(source, orient="records", lines=True))()
    draw, killed, further, windows = random.Random(4), 0, 0, 0
    journal = partial / "journal.jsonl"
    while True:
        process = start(source, out, "--bundle", bundle)
        # Every second time at least two windows are to be written first, so that it gets on.
        aim = windows + (2 if killed % 2 else 0)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < aim):
            time.sleep(0.001)
        try:
            process.wait(draw.random() * 0.3 if killed < kills else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        said = process.communicate()[1]
        further += "Going on after" in said
        windows = journal.read_bytes().count(b"\n") if journal.exists() else 0
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    assert killed >= kills // 2
    assert further >= 1
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    found = read.get(suffix, lambda path: pd.read_json(path, lines=True))(out)
    kept = [row for row in rows if row["document"]]
    assert found["id"].tolist() == [row["id"] for row in kept]
    assert found["document"].tolist() == [row["document"] for row in kept]
    rejects = lines(folder / f"out{suffix}.rejects.jsonl")
    assert [reject["row"] for reject in rejects] == list(range(1, len(rows) + 1, 50))
    assert {path.name for path in folder.iterdir()} == {source.name, out.name, f"{out.name}.rejects.jsonl"}


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
def test_killed_at_any_moment_it_goes_on_and_no_row_is_lost_or_twice(suffix, tmp_path, bundle):
    killed_again_and_again(suffix, 3, tmp_path, bundle)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_killed_many_times(suffix, tmp_path, bundle):
    killed_again_and_again(suffix, 15, tmp_path, bundle)


def test_interrupted_it_says_so_and_goes_on_but_not_with_other_settings(tmp_path, bundle, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"document": TEXTS[i % 60] + str(i)}) + "\n" for i in range(6000)))
    process = start(source, out, "--bundle", bundle)
    journal = tmp_path / ".out.jsonl.partial/journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        time.sleep(0.01)
    assert bulk(source, out, "--bundle", bundle) == 1
    assert "Another run is writing" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    assert "The same command goes on" in process.communicate()[1]
    assert process.returncode == 130
    assert bulk(source, out, "--bundle", bundle, "--num-beams", "2") == 1
    assert "begun with another generation setting" in capsys.readouterr().err
    source.touch()
    assert bulk(source, out, "--bundle", bundle) == 1
    assert "begun with another input" in capsys.readouterr().err
    assert not out.exists()


def test_what_cannot_be_begun_is_told_in_a_sentence(tmp_path, bundle, capsys):
    def told(*arguments) -> str:
        assert bulk(*arguments) == 1
        said = capsys.readouterr().err.strip()
        assert "\n" not in said
        assert not list(tmp_path.glob(".*"))
        return said

    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a", "summary": "b"}\n')
    (tmp_path / "in.csv").write_text("id;document\n1;a\n")
    (tmp_path / "empty").mkdir()
    out, given = tmp_path / "out.jsonl", ("--bundle", bundle)
    assert "has no column document; name one of text, summary with --column" in told(source, out, *given)
    assert "a column summary already" in told(source, out, *given, "--column", "text")
    assert "one of id;document with" in told(tmp_path / "in.csv", tmp_path / "out.csv", *given)
    assert "should be of one format" in told(tmp_path / "in.csv", out, *given)
    assert "There is no file" in told(tmp_path / "none*.jsonl", out, *given)
    assert "nor a folder with files" in told(tmp_path / "empty", out, *given)
    assert "should end in one of" in told(source, tmp_path / "out.txt", *given)
    assert "There is no bundle" in told(source, out, "--column", "text", "--summary-column", "s", "--bundle", "nowhere")
    (tmp_path / "in.parquet").write_bytes(b"PAR1 no")
    assert "cannot be read as Parquet" in told(tmp_path / "in.parquet", tmp_path / "out.parquet", *given)
    out.touch()
    assert "is there already" in told(source, out, *given, "--column", "text", "--summary-column", "s")


def test_a_damaged_file_stops_the_run_and_what_was_done_stays(tmp_path, bundle, capsys):
    source = tmp_path / "in.jsonl.gz"
    draw = random.Random(1)
    texts = ["".join(draw.choices("abcdefgh ", k=2000)) for _ in range(400)]
    data = gzip.compress("".join(json.dumps({"document": text}) + "\n" for text in texts).encode())
    source.write_bytes(data[: len(data) // 2])
    assert bulk(source, tmp_path / "out.jsonl", "--bundle", bundle, "--long-text", "truncate") == 1
    assert "is cut short or damaged after row 1" in capsys.readouterr().err
    assert (tmp_path / ".out.jsonl.partial/rows").stat().st_size > 0
    assert not (tmp_path / "out.jsonl").exists()


def test_without_pyarrow_jsonl_works_and_parquet_is_told(tmp_path, bundle):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"document": TEXTS[0]}) + "\n")
    program = """
import sys
sys.modules["pyarrow"] = None
from precis.bulk.cli import main
assert not {"torch", "transformers", "pandas", "ray"} & set(sys.modules)
sys.exit(main())
"""

    def call(*names):
        command = [sys.executable, "-c", program, *(str(tmp_path / name) for name in names), "--bundle", bundle, *SHORT]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    done = call("in.jsonl", "out.jsonl")
    assert done.returncode == 0, done.stderr
    (tmp_path / "in.parquet").touch()
    done = call("in.parquet", "out.parquet")
    assert done.returncode == 1
    assert "install the extra `bulk`" in done.stderr


def test_addresses_are_read_and_written_through_fsspec(tmp_path, bundle, expected, monkeypatch):
    (tmp_path / "desk").mkdir()
    (tmp_path / "in/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "desk")
    for name, part in (("in/b.jsonl", TEXTS[10:20]), ("in/deep/c.jsonl.gz", TEXTS[20:30]), ("in/a.jsonl", TEXTS[:10])):
        data = "".join(json.dumps({"document": text}) + "\n" for text in [*part, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert bulk(f"file://{tmp_path}/in", f"file://{tmp_path}/new/out.jsonl", "--bundle", bundle) == 0
    assert [row["summary"] for row in lines(tmp_path / "new/out.jsonl")] == [expected[text] for text in TEXTS[:30]]
    rejects = lines(tmp_path / "new/out.jsonl.rejects.jsonl")
    assert [reject["file"].rsplit("/", 1)[1] for reject in rejects] == ["a.jsonl", "b.jsonl", "c.jsonl.gz"]
    assert not list((tmp_path / "desk").iterdir())


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_actor_gives_back_what_one_machine_writes(suffix, tmp_path, bundle):
    """Ray's actor without Ray: windows and job come pickled, parts leave as Arrow rows."""
    source = tmp_path / f"in{suffix}"
    frame = pd.DataFrame({"id": range(20), "document": [*TEXTS[:19], ""]})
    if suffix == ".parquet":
        frame.to_parquet(source)
    else:
        frame.to_json(source, orient="records", lines=True)
    form = format_of(suffix[1:], Columns("document", "summary"))
    form.check(sources := find([str(source)]))
    job = bulk_run.BulkJob(sources, form, "", bundle, "cpu", 1, GenerationParams(max_new_tokens=6))
    windows = bulk_run.file_windows(sources, form, 0, bulk_run.Mark())
    batch = pa.table({"window": [pickle.dumps(window) for window in windows]})
    actor = Summarizer(pickle.loads(pickle.dumps(job)))
    found = [bulk_run.Part(**row) for table in actor(batch) for row in table.to_pylist()]
    assert found == list(bulk_run.parts(job, bulk_run.Mark(), lambda *_: None))
    assert sum(part.written for part in found) == 19


def test_a_csv_header_alone_gives_one(tmp_path, bundle):
    (tmp_path / "in.csv").write_text("id,document\n")
    assert bulk(tmp_path / "in.csv", tmp_path / "out.csv.gz", "--bundle", bundle) == 0
    with gzip.open(tmp_path / "out.csv.gz", "rt") as file:
        assert list(csv.reader(file)) == [["id", "document", *ADDED]]
