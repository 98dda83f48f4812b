"""Slices of a long text that are tokenized one after the other, so that memory and pauses stay small."""

from collections.abc import Iterator

SLICE_CHARACTERS = 8_192
COMBINING = "\u0300"  # the first mark that changes the character before it


def slice_spans(text: str, size: int = SLICE_CHARACTERS) -> Iterator[tuple[int, int]]:
    """(start, end) of slices of at most `size` characters.

    A slice ends before a single space between two words, and leaves it out: tokens of SentencePiece models begin with a
    space, so that they are the same on both sides. Where the second half of a slice has no such place, a word is cut,
    and its tokens next to the cut can differ.
    """
    start = 0
    while len(text) - start > size:
        space = _last_safe_space(text, start + size // 2, start + size)
        yield (start, space) if space else (start, start + size)
        start = space + 1 if space else start + size
    yield start, len(text)


def _last_safe_space(text: str, low: int, high: int) -> int:
    """The last single space of text[low:high] that no mark combines with; 0 if there is none."""
    at = text.rfind(" ", low, high)
    while at > 0 and (text[at - 1].isspace() or not ("!" <= text[at + 1] < COMBINING or text[at + 1].isalnum())):
        at = text.rfind(" ", low, at)
    return max(at, 0)
