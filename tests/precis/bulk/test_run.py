"""The parts of a run: what a journal makes of a cut file, and how windows go through an engine that fails."""

from concurrent.futures import Future

import pytest

from precis import EngineError, EngineFull, GenerationParams, Summary, TextError
from precis.bulk import run
from precis.bulk.errors import BulkError
from precis.bulk.journal import Journal
from precis.bulk.rows import Row
from precis.bulk.run import FAILURES, IN_FLIGHT, OPEN, Feeder, Part, Window

JOB = {"input": ["a"]}


def window(first: int, count: int, file: int = 0) -> Window:
    rows = [Row(first + i, None, f"text {first + i} " + "x" * (i * 7 % 11)) for i in range(count)]
    return Window(file, rows).close(first + count, first)


FIRST = Part(file=0, row=2, read=30, written=2, rejected=1, rows=b"one\n", rejects=b'{"row": 1}\n')
SECOND = Part(file=0, row=5, read=60, written=2, rejected=1, rows=b"two\n", rejects=b'{"row": 2}\n')


class Killed(BaseException):
    pass


def kill(*_):
    raise Killed


def test_what_the_journal_does_not_tell_is_cut_off(tmp_path):
    """Every state that a kill can leave between the bytes of a window and the end of its line."""
    out = tmp_path / "out.jsonl"
    journal = Journal(str(out), JOB, b"head\n")
    journal.add(FIRST)
    first = journal.mark
    files = [journal.folder / name for name in ("rows", "rejects.jsonl", "journal.jsonl")]
    before = [path.read_bytes() for path in files]
    journal.add(SECOND)
    second = journal.mark
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
        journal = Journal(str(out), JOB, b"head\n")
        assert journal.mark == (second if state == after else first)
        if state != after:
            assert [path.read_bytes() for path in files] == before
            journal.add(SECOND)
        assert [path.read_bytes() for path in files] == after
        del journal


def test_killed_at_its_beginning_or_end_a_journal_is_begun_or_ended_again(tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    folder = tmp_path / ".out.jsonl.partial"
    folder.mkdir()
    for torn in (b"", b'{"inp', b'{"input": ["a"]}\n'):
        (folder / "rows").write_bytes(b"he")
        (folder / "journal.jsonl").write_bytes(torn)
        journal = Journal(str(out), JOB, b"head\n")
        assert (journal.mark.done, (folder / "rows").read_bytes()) == (0, b"head\n")
        del journal
    journal = Journal(str(out), JOB, b"head\n")
    journal.add(FIRST)
    with pytest.raises(Killed):
        journal.finish(kill)
    for step in ("os.fsync", "precis.bulk.journal.move", "shutil.rmtree"):
        del journal
        journal = Journal(str(out), JOB, b"head\n")
        assert journal.mark.finished
        with monkeypatch.context() as patch:
            patch.setattr(step, kill)
            with pytest.raises(Killed):
                journal.finish(lambda path: path)
    del journal
    Journal(str(out), JOB, b"head\n").finish(lambda path: path)
    assert out.read_bytes() == b"head\none\n"
    assert (tmp_path / "out.jsonl.rejects.jsonl").read_bytes() == b'{"row": 1}\n'
    assert not folder.exists()


class Stub:
    """Stands for an engine: answers when `release` is called, or at once; `fails` by text."""

    def __init__(self, fails=lambda text, tries: None, waits: int = 0) -> None:
        self.fails, self.waits = fails, waits
        self.tries: dict[str, int] = {}
        self.flying: list[tuple[Future, str]] = []
        self.most = 0

    def submit(self, text: str, _: GenerationParams) -> Future:
        self.tries[text] = self.tries.get(text, 0) + 1
        wrong = self.fails(text, self.tries[text])
        if isinstance(wrong, TextError | EngineFull):
            while self.flying:
                self.answer()
            raise wrong
        future: Future = Future()
        self.flying.append((future, text))
        self.most = max(self.most, len(self.flying))
        while len(self.flying) > self.waits:
            self.answer()
        return future

    def answer(self) -> None:
        future, text = self.flying.pop()
        wrong = self.fails(text, self.tries[text])
        if wrong:
            future.set_exception(wrong)
        else:
            future.set_result(Summary(text.upper(), [1], 1, 1, 1, 0, "end"))


def test_windows_come_in_order_with_each_rows_own_summary():
    given = [window(100 * i, 50 + i) for i in range(9)]
    found = list(Feeder(Stub(), GenerationParams()).run(given))
    assert found == given
    for part in found:
        assert [outcome.text for outcome in part.outcomes] == [row.document.upper() for row in part.rows]


def test_rows_in_flight_and_windows_held_are_bounded(tmp_path, monkeypatch):
    read = []
    stub = Stub(waits=IN_FLIGHT - 1)

    def given():
        for i in range(40):
            read.append(i)
            yield window(1000 * i, 200)

    written = 0
    monkeypatch.setattr(
        Feeder, "_take", lambda self, take=Feeder._take: (stub.answer() if stub.flying else None, take(self))
    )
    for _ in Feeder(stub, GenerationParams()).run(given()):
        written += 1
        assert len(read) - written <= OPEN
    assert written == 40
    assert stub.most <= IN_FLIGHT


def test_a_row_on_which_the_engine_failed_gets_a_second_try():
    def fails(text, tries):
        if text.startswith("text 3 "):
            return EngineError("A step failed.") if tries == 1 else None
        if text.startswith("text 4 "):
            return EngineError("This text failed.")
        if text.startswith("text 5 "):
            return TextError("It is too long.")
        return EngineFull(1) if text.startswith("text 6 ") and tries == 1 else None

    found = next(Feeder(Stub(fails), GenerationParams()).run([window(0, 10)]))
    assert [outcome for outcome in found.outcomes if isinstance(outcome, str)] == [
        "This text failed.",
        "It is too long.",
    ]
    assert found.outcomes[3].text.startswith("TEXT 3 ")
    assert found.outcomes[6].text.startswith("TEXT 6 ")


def test_an_engine_that_fails_on_all_rows_ends_the_run():
    stub = Stub(lambda text, tries: EngineError("The device is lost."))
    with pytest.raises(BulkError, match=f"on {FAILURES} rows in a row. The last reason: The device is lost."):
        list(Feeder(stub, GenerationParams()).run([window(0, run.ROWS)]))
