"""No step on a stranger's text takes more than linear time, or keeps other threads waiting until it has ended."""

import gc
import threading
import time

import pytest

from precis.grounding.evidence import find_evidence
from precis.text.chunking import chunk_spans
from precis.text.sentences import sentence_spans

SUMMARY = "The council met on Tuesday. It agreed to mend 3,000 bridges. Anna Bell of the U.S. said so. A.A. twenty-one."
HOSTILE = {
    "combining marks": "\u0301\u0316",
    "number words": "hundred ",
    "numbers of words": "twenty-one hundred and ",
    "digits": "1",
    "groups of digits": "1 234",
    "lists of digits": "1.2,",
    "capitals": "A B ",
    "initials": "A.",
    "hyphens": "a-",
    "quotes": ".\"'",
    "spaces": " ",
    "full stops": ". ",
    "line breaks": ".\n",
    "one letter": "a",
    "possessives": "s's'",
    "ideographs": "会。",
}
SIZE = 8_000  # characters
ATTEMPTS = 8


def seconds(work) -> float:
    """Processor time of one run, without collections of what other tests have left in memory."""
    gc.disable()
    try:
        began = time.thread_time()
        work()
        return time.thread_time() - began
    finally:
        gc.enable()


def takes_linear_time(quarter, all_of_it) -> bool:
    """Whether four times the input takes less than eight times the time, where quadratic time would be sixteen times.

    A busy machine slows one of two runs down, so the least time of several is compared, for as many attempts as needed.
    """
    least_quarter = least = float("inf")
    for _ in range(ATTEMPTS):
        least_quarter, least = min(least_quarter, seconds(quarter)), min(least, seconds(all_of_it))
        if least < 8 * least_quarter + 0.01:
            return True
    return False


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "work",
    [
        lambda text: find_evidence(text, SUMMARY),
        lambda text: find_evidence(SUMMARY, text),
        lambda text: list(sentence_spans(text)),
        lambda text: chunk_spans(text, list(range(len(text))), 128),
    ],
    ids=["evidence", "evidence of a summary", "sentences", "chunks"],
)
def test_time_grows_with_the_length(work, unit):
    text = "a " + unit * (4 * SIZE // len(unit))
    assert takes_linear_time(lambda: work(text[:SIZE]), lambda: work(text))


@pytest.mark.parametrize("unit", ["\ufdfa", "a\u0301", "hundred ", "🦖"])
def test_tokenizing_takes_linear_time_and_leaves_the_interpreter_to_others(engine, unit):
    text = unit * (6_000 if unit == "\ufdfa" else 30_000 // len(unit))
    encode = engine._tokenizer.encode
    assert takes_linear_time(lambda: encode(text[: len(text) // 4]), lambda: encode(text))
    assert any(leaves_the_interpreter(lambda: encode(text * 4)) for _ in range(ATTEMPTS))


def leaves_the_interpreter(work) -> bool:
    """Whether another thread never waits for more than a third of the time that the work takes, or 0.1 s."""
    thread = threading.Thread(target=work)
    thread.start()
    longest, last = 0.0, time.perf_counter()
    began = last
    while thread.is_alive():
        time.sleep(0.0005)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest < max(0.1, (last - began) / 3)
