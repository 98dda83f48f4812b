"""Divides a text that is longer than the model reads into chunks of about equal length."""

import re
from bisect import bisect_left, bisect_right

from precis.text.sentences import sentence_spans

OVERLAP = 8  # a repeated sentence takes at most this fraction (1/8) of a chunk


def chunk_spans(text: str, token_starts: list[int], max_tokens: int) -> list[tuple[int, int]]:
    """(start, end) of each chunk of `text`; cut between sentences where possible, else between words, else anywhere.

    `token_starts` holds the character at which each token of `text` begins; a chunk has at most `max_tokens` of them.
    A chunk begins with the last sentence of the previous chunk if that is short, so that what it refers to is in view.
    """
    sentence_starts = [start for start, _ in sentence_spans(text)]
    word_starts = [match.end() for match in re.finditer(r"\s+", text)]
    spans: list[tuple[int, int]] = []
    start = first_token = 0
    while (remaining := len(token_starts) - first_token) > max_tokens:
        chunks = -(-remaining // max_tokens)
        target = token_starts[first_token + -(-remaining // chunks)]
        furthest = token_starts[first_token + max_tokens]
        end = (
            _nearest(sentence_starts, start, target, furthest)
            or _nearest(word_starts, start, target, furthest)
            or max(furthest, start + 1)  # a single word longer than the model reads
        )
        spans.append((start, end))
        sentences_before = bisect_left(sentence_starts, end)
        last_sentence = sentence_starts[sentences_before - 1] if sentences_before else 0
        length = bisect_left(token_starts, end) - bisect_left(token_starts, last_sentence)
        start = last_sentence if last_sentence > start and length <= max_tokens // OVERLAP else end
        first_token = bisect_left(token_starts, start)
    return [*spans, (start, len(text))]


def _nearest(positions: list[int], start: int, target: int, furthest: int) -> int | None:
    """The one of the sorted `positions` nearest to `target`, up to `furthest` and past half way from `start`."""
    low = bisect_right(positions, start + (target - start) // 2)
    at = bisect_left(positions, target)
    candidates = [positions[i] for i in (at - 1, at) if low <= i < len(positions) and positions[i] <= furthest]
    return min(candidates, key=lambda position: abs(position - target), default=None)
