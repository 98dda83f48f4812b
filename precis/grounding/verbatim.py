"""Recognizes a summary that is a sentence of its document as it stands: the commonest one, and quickly aligned."""

import re

from precis.grounding.alignment import AlignedSpan, Alignment
from precis.grounding.tokens import text_tokens
from precis.text.windows import WINDOW

# A letter or digit that may equal an ASCII one: of Latin-1 none of those from A-grave on does.
_OTHER_LETTER = re.compile("[^\\x00-\\x7f\\xc0-\\xff\\W]")


def copied_sentence(
    document: str, sentences: list[tuple[int, int]], summary: str, summary_sentences: list[tuple[int, int]]
) -> tuple[int, Alignment] | None:
    """The number of the document's sentence that the summary is, and the alignment that `align` would give.

    None for any other summary, if a part of another sentence may be equal to it as well, and for long documents.
    """
    if len(summary_sentences) != 1 or len(document) > WINDOW:
        return None
    start, end = summary_sentences[0]
    source_start = document.find(summary[start:end])
    place = (source_start, source_start + end - start)
    if source_start < 0 or place not in sentences:
        return None
    tokens = list(text_tokens(summary, start, end))
    # No other run of words is equal to the sentence if one of its words stands nowhere else.
    forms = sorted({token.form for token in tokens if token.form.isascii() and token.form.isalnum()}, key=len)
    folded = document.casefold()
    if not any(folded.count(form) == 1 for form in reversed(forms)) or _OTHER_LETTER.search(document):
        return None
    first, last = tokens[0].start, tokens[-1].end
    span = AlignedSpan(first, last, source_start + first - start, source_start + last - start)
    return sentences.index(place), Alignment(True, 1.0, [], [span])
