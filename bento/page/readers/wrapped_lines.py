"""Puts lines together that were wrapped at a fixed width, as e-mail programs and editors do."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from bento.page.readers.characters import LINE_BREAKS
from bento.page.readers.hyphens import Joiner

MIN_WIDTH = 40  # of wrapped lines, in columns; shorter ones are verses, addresses or lists
MOST = 0.6  # of a wrapped text's line breaks stand where the next word did not fit any more
CONTINUED = 0.4  # of the breaks within sentences that go on with a small letter; German has many capitals
TERMINAL = tuple(".!?:;…。！？")
CLOSING = "\"'”’)]»"
QUOTE = re.compile(r"[>|][>| ]*")
# A list item, a heading, a header of an e-mail, a line of a chat, a rule or a row of a table begins a line of its own.
OWN_LINE = re.compile(
    r"(?:[-*•◦▪‣·+–—]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S|#{1,6}\s|[A-Z][A-Za-z-]{1,20}:\s|\[?\d{1,2}[:.]\d\d|[-=_*~#]{3,}\s*$"
)
TABLE_ROW = re.compile(r"\t|\S {3,}\S|\|.*\|")


def rejoin_wrapped_lines(text: str) -> str:
    """`text` with each wrapped paragraph on one line; the same text if its lines were not wrapped."""
    blocks = [block.split("\n") for block in re.split(r"\n(?:[ \t]*\n)+", LINE_BREAKS.sub("\n", text))]
    widths = [_block_width(block) for block in blocks]
    wide = [(block, width) for block, width in zip(blocks, widths, strict=True) if width >= MIN_WIDTH]
    breaks = [pair for block, width in wide for pair in _wrapped_breaks(block, width)]
    within = [(before, after) for before, after in breaks if not before.rstrip(CLOSING).endswith(TERMINAL)]
    continued = sum(not after[:1].isupper() for _, after in within)
    if not within or continued < CONTINUED * len(within):
        return text
    joiner = Joiner(text, breaks_words=False)
    return "\n\n".join(
        "\n".join(_joined(block, width, joiner) if _is_wrapped(block, width) else block)
        for block, width in zip(blocks, widths, strict=True)
    )


def _block_width(block: list[str]) -> int:
    """The width of the longest line of several words; a long address on a line of its own does not count."""
    return max((_width(line.rstrip()) for line in block if " " in line.strip() or not line.isascii()), default=0)


def _is_wrapped(block: list[str], width: int) -> bool:
    breaks = sum(not _keeps_break(before, after) for before, after in pairwise(block))
    return width >= MIN_WIDTH and sum(1 for _ in _wrapped_breaks(block, width)) >= MOST * breaks


def _wrapped_breaks(block: list[str], width: int) -> Iterator[tuple[str, str]]:
    """The lines before and after each break that wrapping at `width` would make."""
    for before, after in pairwise(block):
        if not _keeps_break(before, after) and _is_full(before, after, width):
            yield before.rstrip(), _content(after)


def _joined(block: list[str], width: int, joiner: Joiner) -> list[str]:
    lines = [[line.rstrip()] for line in block[:1]]
    for before, after in pairwise(block):
        if _keeps_break(before, after) or not _is_full(before, after, width):
            lines.append([after.rstrip()])
        else:
            lines[-1].append(_content(after))
    return list(map(joiner.join, lines))


def _keeps_break(before: str, after: str) -> bool:
    """Whether the break between two lines is the writer's own, whatever their lengths."""
    content = _content(after)
    return (
        not content
        or not _content(before)
        or _quote(before) != _quote(after)
        or OWN_LINE.match(content) is not None
        or (_indent(after) > _indent(before) + 1 and not OWN_LINE.match(_content(before)))
        or TABLE_ROW.search(before.strip()) is not None
        or TABLE_ROW.search(after.strip()) is not None
    )


def _is_full(before: str, after: str, width: int) -> bool:
    """Whether the first word of `after` did not fit on the line `before`."""
    content = _content(after)
    word = content[:1] if unicodedata.east_asian_width(content[:1]) in "WF" else content.split(maxsplit=1)[0]
    return _width(before.rstrip()) + 1 + _width(word) > width


def _width(line: str) -> int:
    """In columns, of which Chinese and Japanese characters take two."""
    return len(line) if line.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def _quote(line: str) -> str:
    match = QUOTE.match(line)
    return match[0].replace(" ", "") if match else ""


def _content(line: str) -> str:
    """The line without indentation and marks of quotation."""
    return QUOTE.sub("", line, count=1).strip() if QUOTE.match(line) else line.strip()


def _indent(line: str) -> int:
    line = line.expandtabs()
    return len(line) - len(line.lstrip(" "))
