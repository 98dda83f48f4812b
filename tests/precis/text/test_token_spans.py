"""Tokens of sentences: by hand, and against a search of all tokens."""

import random

from precis.text.token_spans import token_spans


def test_by_hand():
    offsets = [(-11, -2), (-2, -1), (0, 3), (3, 7), (7, 8), (9, 12), (12, 13)]
    assert token_spans(offsets, [(0, 8), (9, 13), (4, 5), (20, 25)]) == [(2, 5), (5, 7), (3, 4), (6, 7)]


def test_every_token_that_overlaps_and_no_other():
    draw = random.Random(3)
    for _ in range(200):
        borders = sorted(draw.sample(range(60), 20))
        offsets = list(zip(borders[::2], borders[1::2], strict=True))
        start = draw.randrange(59)
        end = draw.randrange(start + 1, 60)
        overlapping = [index for index, (low, high) in enumerate(offsets) if low < end and high > start]
        (span,) = token_spans(offsets, [(start, end)])
        if overlapping:
            assert list(range(*span)) == overlapping
        else:
            assert span[1] == span[0] + 1
