"""What a summary rests on, as HTML: the text with its supporting sentences marked, the summary with what it lacks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from markupsafe import Markup

from bento.page.html import escape, render
from bento.page.messages import grounding_report, trust_report
from precis.grounding.evidence import Evidence, Sentence, Span

STRONG_SCORE = 0.5  # a sentence that scores at least this is marked in full colour

Marked = TypeVar("Marked", Span, Sentence)


def growing_html(summary: str) -> Markup:
    """A summary that is still being written."""
    return Markup(
        f'<p class="gist" aria-busy="true">{escape(summary)}<span class="caret" aria-hidden="true"></span></p>'
    )


def unfinished_html(summary: str) -> Markup:
    """What was written of a summary that will not be finished; "" if nothing was."""
    return Markup(f'<p class="gist">{escape(summary)}</p>' if summary else "")


def summary_html(summary: str, unsupported: list[Span], sentences: Sequence[str] = ()) -> Markup:
    """The summary; numbers and names that the text lacks are marked, also for screen readers.

    Several `sentences`, which the summary consists of, make a list.
    """

    def mark(span: Span) -> str:
        remark = f"this {span.kind} is not in the text"
        return (
            f'<mark class="unsupported" title="{remark.capitalize()}">{escape(summary[span.start : span.end])}'
            f'<span class="screen-reader-only"> ({remark})</span></mark>'
        )

    if len(sentences) < 2 or " ".join(sentences) != summary:
        marked_text = _with_marks(summary, unsupported, mark)
        return Markup(f'<p class="gist" data-plain="{escape(summary)}">{marked_text}</p>')
    items, start = [], 0
    for sentence in sentences:
        own = [span for span in unsupported if start <= span.start and span.end <= start + len(sentence)]
        marked_text = _with_marks(summary, own, mark, start, start + len(sentence))
        items.append(f'<li data-plain="{escape(sentence)}">{marked_text}</li>')
        start += len(sentence) + 1
    return Markup(f'<ul class="gist" data-plain="{escape(summary)}">{"".join(items)}</ul>')


def verdict_html(evidence: Evidence, trust: float | None, *, extracted: bool = False) -> Markup:
    """Whether the summary stands in the text, and how far it can be trusted if the bundle has a certificate."""
    kind = "good" if evidence.grounding.verbatim and not evidence.unsupported else "check"
    promise = "" if trust is None else f" {escape(trust_report(trust, extracted=extracted))}"
    return Markup(f'<strong class="verdict {kind}">{escape(grounding_report(evidence))}</strong>{promise}')


def source_html(document: str, evidence: Evidence, prefix: str = "evidence") -> Markup:
    """The document with its supporting sentences marked and numbered, the best first, and links to them.

    The marks' ids are `prefix` and their numbers.
    """
    ranks = {id(sentence): rank for rank, sentence in enumerate(evidence.sentences, 1)}

    def mark(sentence: Sentence) -> str:
        rank, strength = ranks[id(sentence)], "strong" if sentence.score >= STRONG_SCORE else "weak"
        text = escape(document[sentence.start : sentence.end])
        return f'<mark class="evidence {strength}" id="{prefix}-{rank}">{text}<sup>{rank}</sup></mark>'

    marked_text = _with_marks(document, evidence.sentences, mark)
    return render("source.html", marked_text=marked_text, ranks=list(ranks.values()), prefix=prefix)


def _with_marks(
    text: str, spans: Sequence[Marked], mark: Callable[[Marked], str], first: int = 0, last: int | None = None
) -> Markup:
    """text[first:last] as HTML with each span as `mark` renders it; one that overlaps the one before is left out."""
    parts: list[str] = []
    end = first
    for span in sorted(spans, key=lambda span: span.start):
        if span.start >= end:
            parts += [escape(text[end : span.start]), mark(span)]
            end = span.end
    return Markup("".join([*parts, escape(text[end:last])]))
