"""Divides a text into blocks: paragraphs, headings, list items and messages, with hard-wrapped lines joined."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LINE_BREAKS = "\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"  # inside a character class
WIDEST_WRAP = 120  # characters; longer lines were not wrapped by a program
NARROWEST_WRAP = 40  # a shorter line before a capital is a line of its own
SHORTEST_WRAPPED = 25  # so is a shorter line before a small letter
RAGGED = 0.6  # fraction of the width that a line before a small letter fills at least

_LINE = re.compile(f"[^{LINE_BREAKS}]+")
_BREAK = re.compile("\r\n|[" + LINE_BREAKS + "]")
_FIRST_WORD = re.compile(r"\s*+(\S{1,40}+)")
_STOP = re.compile(r"[.!?…:;。！？।؟][\"'”’)\]»]*$")
# What begins a block wherever it stands: bullets, quoted lines, headings, table rows, times, clause numbers ...
_MARKER = re.compile(
    r"\s*+(?:[-*•‣◦▪⁃·+★☐✓→➤►]\s|[•‣◦▪⁃>|#§]|[\[(]\d{1,2}[:.]\d\d(?:[:.]\d\d)?[\])]|\(?[a-z0-9]{1,3}\)\s"
    r"|(?:Section|Article|Clause|Item)\s\d|[A-Z][\w.'’ -]{0,24}:\s|[QA]:)"
)
# What may also stand at the head of a wrapped line by chance.
_LIKELY_MARKER = re.compile(
    r"\s*+(?:[–—]\s|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.)]\s|\d{1,3}(?:\.\d{1,3})+\.?\s|\d{1,2}[:.]\d\d\s|[\w.-]{1,24}:\s)"
)
_FLOWED = re.compile(f" [{LINE_BREAKS}]")  # a single space before the break, as format=flowed (RFC 3676) has it
# "Lotte K 18:52", the line above a message.
_SENDER = re.compile(r"\S.{0,30}\s\(?\d{1,2}[:.]\d\d\)?\s*$")


@dataclass(frozen=True, slots=True)
class _Line:
    """text[start:end], without the whitespace at its end."""

    start: int
    end: int


def block_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of each block in `text`, without the whitespace around it, in linear time.

    A line break ends a block, unless the line before it was wrapped: filled so far that the next word had no room.
    """
    paragraphs = list(_paragraphs(text))
    wrapped, width = _wrapping(text, paragraphs)
    for lines in paragraphs:
        widest = max((length for line in lines if (length := line.end - line.start) <= WIDEST_WRAP), default=0)
        # In two lines, the longer one would always look filled; the rest of the text tells the width.
        paragraph_width = max(widest, width) if len(lines) < 3 else widest
        start = lines[0].start
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            if following is not None and _continues(text, line, following, paragraph_width, wrapped):
                continue
            yield _without_margin(text, start), line.end
            start = following.start if following is not None else line.end


def _paragraphs(text: str) -> Iterator[list[_Line]]:
    """The lines of each paragraph; a blank line ends one."""
    paragraph: list[_Line] = []
    previous_end = 0
    for match in _LINE.finditer(text):
        content = match[0].rstrip()
        if not content:
            continue
        if paragraph and not _one_break(text, previous_end, match.start()):
            yield paragraph
            paragraph = []
        previous_end = match.start() + len(content)
        paragraph.append(_Line(match.start(), previous_end))
    if paragraph:
        yield paragraph


def _one_break(text: str, start: int, end: int) -> bool:
    """Whether text[start:end], whitespace only, has a single line break."""
    first = _BREAK.search(text, start, end)
    return first is not None and _BREAK.search(text, first.end(), end) is None


def _wrapping(text: str, paragraphs: list[list[_Line]]) -> tuple[bool, int]:
    """Whether most breaks within the paragraphs of `text` were made by wrapping, and the width in characters.

    Wrapped prose continues with a small letter more often than with a capital; headings and lists do not.
    """
    small = other = width = 0
    for lines in paragraphs:
        for line, following in pairwise(lines):
            length = line.end - line.start
            if not SHORTEST_WRAPPED <= length <= WIDEST_WRAP or _is_marked(text, following):
                continue
            width = max(width, length)
            if _STOP.search(text, max(line.start, line.end - 4), line.end):
                continue
            if text[_without_margin(text, following.start)].islower():
                small += 1
            else:
                other += 1
    return 0 < small >= other, width


def _continues(text: str, line: _Line, following: _Line, width: int, wrapped: bool) -> bool:
    """Whether `following` continues the block of `line`."""
    length = line.end - line.start
    if length < SHORTEST_WRAPPED or _MARKER.match(text, following.start, following.end):
        return False
    if length <= WIDEST_WRAP and _SENDER.match(text, line.start, line.end):
        return False
    word = _FIRST_WORD.match(text, following.start, following.end)
    filled = length <= WIDEST_WRAP and length + 1 + (len(word[1]) if word else 0) > width
    stopped = _STOP.search(text, max(line.start, line.end - 4), line.end)
    if _LIKELY_MARKER.match(text, following.start, following.end):
        return wrapped and filled and not stopped and not _is_marked(text, line)
    if _SENDER.match(text, following.start, min(following.end, following.start + WIDEST_WRAP)):
        return False
    if text[_without_margin(text, following.start)].islower():
        return length >= RAGGED * width and (not stopped or (wrapped and filled))
    flowed = not stopped and _FLOWED.match(text, line.end) is not None
    return length >= NARROWEST_WRAP and ((wrapped and filled) or flowed)


def _is_marked(text: str, line: _Line) -> bool:
    return bool(_MARKER.match(text, line.start, line.end) or _LIKELY_MARKER.match(text, line.start, line.end))


def _without_margin(text: str, start: int) -> int:
    """The position of the first character that is no whitespace, at or after `start`."""
    while text[start].isspace():
        start += 1
    return start
