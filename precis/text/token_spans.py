"""Which tokens of a text belong to which of its sentences."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

Span = tuple[int, int]


def token_spans(offsets: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """For each of `spans` (start, end in characters) the tokens, first and past the last, that overlap it.

    `offsets` are the characters of each token, in order. A span that no token overlaps gets the nearest one.
    """
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    result = []
    for start, end in spans:
        first = min(bisect_right(ends, start), len(offsets) - 1)
        result.append((first, max(first + 1, bisect_left(starts, end))))
    return result
