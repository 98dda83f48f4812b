"""The journal after a kill: what it does not mention is cut off, and any step can be repeated."""

import errno
import os
from dataclasses import replace

import pytest

from precis.bulk.errors import BulkError
from precis.bulk.job import Part
from precis.bulk.journal import Journal

IDENTITY = {"input": ["a"]}
FIRST = Part(
    file=0, after=0, row=2, last=False, bytes_read=30, written=2, rejected=1, output=b"one\n", rejects=b'{"row": 1}\n'
)
SECOND = Part(
    file=0, after=2, row=5, last=True, bytes_read=60, written=2, rejected=1, output=b"two\n", rejects=b'{"row": 2}\n'
)


class Killed(BaseException):
    pass


def kill(*_):
    raise Killed


def test_bytes_that_the_journal_does_not_mention_are_cut_off(tmp_path):
    """Every state that a kill can leave between the bytes of a window and the end of its line."""
    out = tmp_path / "out.jsonl"
    journal = Journal(str(out), IDENTITY, b"head\n")
    journal.add(FIRST)
    first = journal.checkpoint
    files = [journal.folder / name for name in ("rows", "rejects.jsonl", "journal.jsonl")]
    before = [path.read_bytes() for path in files]
    journal.add(SECOND)
    second = journal.checkpoint
    after = [path.read_bytes() for path in files]
    del journal
    assert (first.written, first.rejected, first.row, second.row, second.done) == (2, 1, 2, 5, 6)
    # Files grow in this order, each by some of its new bytes.
    states = [
        [*after[:i], before[i] + after[i][len(before[i]) :][:cut], *before[i + 1 :]]
        for i in range(3)
        for cut in range(len(after[i]) - len(before[i]) + 1)
    ]
    for state in states:
        for path, data in zip(files, state, strict=True):
            path.write_bytes(data)
        journal = Journal(str(out), IDENTITY, b"head\n")
        assert journal.checkpoint == (second if state == after else first)
        if state != after:
            assert [path.read_bytes() for path in files] == before
            journal.add(SECOND)
        assert [path.read_bytes() for path in files] == after
        del journal


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (FIRST, replace(SECOND, after=3), "after row 3 of input 1 came where those after row 2 of input 1 should"),
        (FIRST, FIRST, "after row 0 of input 1 came where those after row 2 of input 1"),
        (FIRST, replace(SECOND, file=1, after=0), "input 2 came where those after row 2 of input 1"),
        (replace(FIRST, last=True), SECOND, "input 1 came where those after row 0 of input 2"),
        (
            replace(FIRST, last=True),
            replace(SECOND, file=2, after=0),
            "input 3 came where those after row 0 of input 2",
        ),
    ],
)
def test_a_lost_or_doubled_window_stops_the_run(first, second, message, tmp_path):
    journal = Journal(str(tmp_path / "out.jsonl"), IDENTITY, b"")
    journal.add(first)
    with pytest.raises(BulkError, match=message):
        journal.add(second)
    assert journal.checkpoint.done == 3


@pytest.mark.parametrize("entry", [b"\0\0\0", b"{", b"[1]", b'{"rows": 3}'])
def test_a_damaged_journal_is_named(entry, tmp_path):
    journal = Journal(str(tmp_path / "out.jsonl"), IDENTITY, b"head\n")
    journal.add(FIRST)
    path = journal.folder / "journal.jsonl"
    del journal
    path.write_bytes(path.read_bytes() + entry + b"\n")
    with pytest.raises(BulkError, match=f"{path} was altered; remove {path.parent} to start again"):
        Journal(str(tmp_path / "out.jsonl"), IDENTITY, b"head\n")


def test_a_file_system_without_locks_is_not_another_run(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(BulkError, match="cannot be locked: No locks available"):
        Journal(str(tmp_path / "out.jsonl"), IDENTITY, b"")


def test_a_journal_killed_at_its_start_or_end_is_started_or_finished_again(tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    folder = tmp_path / ".out.jsonl.partial"
    folder.mkdir()
    for torn in (b"", b'{"inp', b'{"input": ["a"]}\n'):
        (folder / "rows").write_bytes(b"he")
        (folder / "journal.jsonl").write_bytes(torn)
        journal = Journal(str(out), IDENTITY, b"head\n")
        assert (journal.checkpoint.done, (folder / "rows").read_bytes()) == (0, b"head\n")
        del journal
    journal = Journal(str(out), IDENTITY, b"head\n")
    journal.add(FIRST)
    with pytest.raises(Killed):
        journal.finish(kill)
    for step in ("os.fsync", "precis.bulk.journal.move", "shutil.rmtree"):
        del journal
        journal = Journal(str(out), IDENTITY, b"head\n")
        assert journal.checkpoint.finished
        with monkeypatch.context() as patch:
            patch.setattr(step, kill)
            with pytest.raises(Killed):
                journal.finish(lambda path: path)
    del journal
    Journal(str(out), IDENTITY, b"head\n").finish(lambda path: path)
    assert out.read_bytes() == b"head\none\n"
    assert (tmp_path / "out.jsonl.rejects.jsonl").read_bytes() == b'{"row": 1}\n'
    assert not folder.exists()
