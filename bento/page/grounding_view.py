"""What a summary rests on, as HTML: the text with its supporting sentences marked, the summary with what it lacks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from markupsafe import Markup

from bento.page.html import escape, render
from precis.grounding.evidence import Evidence, Sentence, Span

STRONG_SCORE = 0.5  # a sentence that scores at least this is marked in full colour

Marked = TypeVar("Marked", Span, Sentence)


def growing_html(summary: str) -> Markup:
    """A summary that is still being written."""
    return Markup(
        f'<p class="gist" aria-busy="true">{escape(summary)}<span class="caret" aria-hidden="true"></span></p>'
    )


def summary_html(summary: str, unsupported: list[Span]) -> Markup:
    """The summary; numbers and names that the text lacks are marked, also for screen readers."""

    def mark(span: Span) -> str:
        remark = f"this {span.kind} is not in the text"
        return (
            f'<mark class="unsupported" title="{remark.capitalize()}">{escape(summary[span.start : span.end])}'
            f'<span class="screen-reader-only"> ({remark})</span></mark>'
        )

    marked_text = _with_marks(summary, unsupported, mark)
    return Markup(f'<p class="gist" data-plain="{escape(summary)}">{marked_text}</p>')


def source_html(document: str, evidence: Evidence) -> Markup:
    """The document with its supporting sentences marked and numbered, the best first, and links to them."""
    ranks = {id(sentence): rank for rank, sentence in enumerate(evidence.sentences, 1)}

    def mark(sentence: Sentence) -> str:
        rank, strength = ranks[id(sentence)], "strong" if sentence.score >= STRONG_SCORE else "weak"
        text = escape(document[sentence.start : sentence.end])
        return f'<mark class="evidence {strength}" id="evidence-{rank}">{text}<sup>{rank}</sup></mark>'

    marked_text = _with_marks(document, evidence.sentences, mark)
    return render("source.html", marked_text=marked_text, ranks=list(ranks.values()))


def _with_marks(text: str, spans: Sequence[Marked], mark: Callable[[Marked], str]) -> Markup:
    """`text` as HTML with each span as `mark` renders it; a span that overlaps the one before is left out."""
    parts: list[str] = []
    end = 0
    for span in sorted(spans, key=lambda span: span.start):
        if span.start >= end:
            parts += [escape(text[end : span.start]), mark(span)]
            end = span.end
    return Markup("".join([*parts, escape(text[end:])]))
