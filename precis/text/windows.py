"""Scans a long text with a regular expression in short calls: Python's `re` holds the interpreter for each one."""

import re
from collections.abc import Iterator

WINDOW = 16_384  # characters that one call of the expression sees
MARGIN = 512  # characters; a shorter match is found whole wherever it lies


def finditer(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The matches of `pattern` in `text`, as its own `finditer` gives them if none is longer than MARGIN characters.

    A longer one may be cut. Between two windows other threads run.
    """
    start = 0
    while start < len(text):
        end = min(len(text), start + WINDOW)
        is_last = end == len(text)
        position = start  # where the next window begins
        for match in pattern.finditer(text, start, end):
            if not is_last and match.start() >= end - MARGIN:
                break  # it may go on behind this window: the next one finds it whole
            yield match
            position = match.end()
        start = end if is_last else max(position, end - MARGIN)
