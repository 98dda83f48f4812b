"""What a summary rests on, as HTML: the text with its supporting sentences marked, the summary with what it lacks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from bento.page.html import escape, plural
from precis.grounding.evidence import Evidence, Sentence, Span

STRONG_SCORE = 0.5  # a sentence that scores at least this is marked in full colour

Marked = TypeVar("Marked", Span, Sentence)


def summary_html(summary: str, unsupported: list[Span]) -> str:
    """The summary; numbers and names that the text lacks are marked, also for screen readers."""

    def mark(span: Span) -> str:
        remark = f"this {span.kind} is not in the text"
        return (
            f'<mark class="unsupported" title="{remark.capitalize()}">{escape(summary[span.start : span.end])}'
            f'<span class="screen-reader-only"> ({remark})</span></mark>'
        )

    return f'<p class="gist" data-plain="{escape(summary)}">{_with_marks(summary, unsupported, mark)}</p>'


def source_html(document: str, evidence: Evidence) -> str:
    """The document with its supporting sentences marked and numbered, the best first, and links to them."""
    ranks = {id(sentence): rank for rank, sentence in enumerate(evidence.sentences, 1)}

    def mark(sentence: Sentence) -> str:
        rank, strength = ranks[id(sentence)], "strong" if sentence.score >= STRONG_SCORE else "weak"
        text = escape(document[sentence.start : sentence.end])
        return f'<mark class="evidence {strength}" id="evidence-{rank}">{text}<sup>{rank}</sup></mark>'

    links = " ".join(
        f'<a href="#evidence-{rank}">{rank}<span class="screen-reader-only"> in the text</span></a>'
        for rank in ranks.values()
    )
    lead = "No sentence of the text shares enough words with this summary to be called its source."
    if ranks:
        lead = f"The summary rests mostly on {plural(len(ranks), 'sentence')} of the text: {links}"
    return (
        f'<div class="legend"><p>{lead}</p></div>'
        '<div class="source" tabindex="0" role="region" aria-label="Your text with its supporting sentences marked">'
        f"{_with_marks(document, evidence.sentences, mark)}</div>"
        '<p class="hint">Found by comparing words, not by understanding: read the marked sentences yourself.</p>'
    )


def _with_marks(text: str, spans: Sequence[Marked], mark: Callable[[Marked], str]) -> str:
    """`text` as HTML with each span as `mark` renders it; a span that overlaps the one before is left out."""
    parts: list[str] = []
    end = 0
    for span in sorted(spans, key=lambda span: span.start):
        if span.start >= end:
            parts += [escape(text[end : span.start]), mark(span)]
            end = span.end
    return "".join([*parts, escape(text[end:])])
