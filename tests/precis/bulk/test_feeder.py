"""Windows through an engine: order, bounds, retries and failures."""

from concurrent.futures import Future

import pytest

from precis import EngineError, EngineFull, GenerationParams, Summary, TextError
from precis.bulk.errors import BulkError
from precis.bulk.feeder import MAX_FAILURES, MAX_IN_FLIGHT, MAX_WINDOWS, Feeder
from precis.bulk.formats import Row
from precis.bulk.job import Window
from precis.params import TrustParams


def window(first: int, count: int, file: int = 0) -> Window:
    rows = [Row(first + i, None, f"text {first + i} " + "x" * (i * 7 % 11)) for i in range(count)]
    return Window(file, rows).close(first + count, first)


class Stub:
    """Stands for an engine: answers when `release` is called, or at once; `fails` by text."""

    def __init__(self, fails=lambda text, tries: None, waits: int = 0) -> None:
        self.fails, self.waits = fails, waits
        self.tries: dict[str, int] = {}
        self.in_flight: list[tuple[Future, str]] = []
        self.most = 0

    def submit(self, text: str, _: GenerationParams) -> Future:
        self.tries[text] = self.tries.get(text, 0) + 1
        error = self.fails(text, self.tries[text])
        if isinstance(error, TextError | EngineFull):
            while self.in_flight:
                self.answer()
            raise error
        future: Future = Future()
        self.in_flight.append((future, text))
        self.most = max(self.most, len(self.in_flight))
        while len(self.in_flight) > self.waits:
            self.answer()
        return future

    def certificate(self, _: GenerationParams) -> None:
        return None

    def answer(self) -> None:
        future, text = self.in_flight.pop()
        error = self.fails(text, self.tries[text])
        if error:
            future.set_exception(error)
        else:
            future.set_result(Summary(text.upper(), [1], 1, 1, 1, 0, "end"))


def test_windows_finish_in_order_with_each_rows_own_summary():
    windows = [window(100 * i, 50 + i) for i in range(9)]
    finished = list(Feeder(Stub(), GenerationParams(), TrustParams()).run(windows))
    assert finished == windows
    for done in finished:
        assert [outcome.summary.text for outcome in done.outcomes] == [row.document.upper() for row in done.rows]


def test_rows_in_flight_and_windows_held_are_bounded(monkeypatch):
    read = []
    stub = Stub(waits=MAX_IN_FLIGHT - 1)

    def windows():
        for i in range(40):
            read.append(i)
            yield window(1000 * i, 200)

    def receive(self, original=Feeder._receive):
        if stub.in_flight:
            stub.answer()
        original(self)

    written = 0
    monkeypatch.setattr(Feeder, "_receive", receive)
    for _ in Feeder(stub, GenerationParams(), TrustParams()).run(windows()):
        written += 1
        assert len(read) - written <= MAX_WINDOWS
    assert written == 40
    assert stub.most <= MAX_IN_FLIGHT


def test_a_row_on_which_the_engine_failed_gets_a_second_try():
    def fails(text, tries):
        if text.startswith("text 3 "):
            return EngineError("A step failed.") if tries == 1 else None
        if text.startswith("text 4 "):
            return EngineError("This text failed.")
        if text.startswith("text 5 "):
            return TextError("It is too long.")
        return EngineFull(1) if text.startswith("text 6 ") and tries == 1 else None

    window_0 = next(Feeder(Stub(fails), GenerationParams(), TrustParams()).run([window(0, 10)]))
    assert [outcome for outcome in window_0.outcomes if isinstance(outcome, str)] == [
        "This text failed.",
        "It is too long.",
    ]
    assert window_0.outcomes[3].summary.text.startswith("TEXT 3 ")
    assert window_0.outcomes[6].summary.text.startswith("TEXT 6 ")


def test_an_engine_that_fails_on_every_row_ends_the_run():
    stub = Stub(lambda text, tries: EngineError("The device is lost."))
    with pytest.raises(BulkError, match=f"on {MAX_FAILURES} rows in a row. The last reason: The device is lost."):
        list(Feeder(stub, GenerationParams(), TrustParams()).run([window(0, 2 * MAX_FAILURES)]))
