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


def split(pattern: re.Pattern[str], text: str) -> Iterator[list[str]]:
    """`pattern.split(text)` in pieces: lists [between, match, between, ..., between] that joined together are `text`.

    `pattern` is one group, and looks at nothing before its match. A match longer than MARGIN characters may be cut.
    """
    start = 0
    while start < len(text):
        end = min(len(text), start + WINDOW)
        parts = pattern.split(text[start:end])
        if end < len(text):
            rest = parts.pop()
            while parts and len(parts[-1]) + len(rest) <= MARGIN:  # this match may go on behind the window
                rest = parts.pop(-2) + parts.pop() + rest
            parts.append(rest[: max(0, len(rest) - MARGIN)])
            end -= min(len(rest), MARGIN)
        yield parts
        start = end
