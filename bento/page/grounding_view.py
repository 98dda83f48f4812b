"""What a summary rests on, as HTML: its source with the supporting sentences marked, and its own doubtful words."""

from bento.page.html import count, escape
from precis.grounding.evidence import Evidence, Sentence, Span

STRONG = 0.5  # score from which a sentence is marked in full colour
NAMED = 6  # doubtful words that are named in a sentence; the rest are counted


def summary_html(summary: str, unsupported: list[Span] | None = None) -> str:
    """The summary; the words that the source lacks carry a mark and, for those who listen, a remark."""
    parts, at = [], 0
    for span in sorted(unsupported or [], key=lambda span: span.start):
        if span.start < at:
            continue
        words = escape(summary[span.start : span.end])
        parts += [
            escape(summary[at : span.start]),
            f'<mark class="lacking" title="This {span.kind} is not in the text">{words}'
            f'<span class="heard"> (this {span.kind} is not in the text)</span></mark>',
        ]
        at = span.end
    parts.append(escape(summary[at:]))
    return f'<p class="gist" data-plain="{escape(summary)}">{"".join(parts)}</p>'


def doubts(unsupported: list[Span]) -> str:
    """The doubtful words in a sentence, or ""."""
    if not unsupported:
        return ""
    words = list(dict.fromkeys(span.text for span in unsupported))
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return f"Not found in the text: {', '.join(words[:NAMED])}{more}."


def source_html(document: str, evidence: Evidence) -> str:
    """The document with its supporting sentences marked and numbered, the best first, and links to them."""
    ranks = {id(sentence): rank for rank, sentence in enumerate(evidence.sentences, 1)}
    parts, at = [], 0
    for sentence in sorted(evidence.sentences, key=lambda sentence: sentence.start):
        if sentence.start < at:
            continue
        parts += [escape(document[at : sentence.start]), _marked(document, sentence, ranks[id(sentence)])]
        at = sentence.end
    parts.append(escape(document[at:]))
    if not ranks:
        lead = "<p>No sentence of the text shares enough words with this summary to be called its source.</p>"
    else:
        links = " ".join(
            f'<a href="#rests-{rank}">{rank}<span class="heard"> in the text</span></a>' for rank in ranks.values()
        )
        lead = f"<p>The summary rests mostly on {count(len(ranks), 'sentence')} of the text: {links}</p>"
    return (
        f'<div class="legend">{lead}</div>'
        f'<div class="source" tabindex="0" role="region" aria-label="Your text with its supporting sentences marked">'
        f"{''.join(parts)}</div>"
        '<p class="hint">Found by comparing words, not by understanding: read the marked sentences yourself.</p>'
    )


def _marked(document: str, sentence: Sentence, rank: int) -> str:
    strength = "strong" if sentence.score >= STRONG else "fair"
    text = escape(document[sentence.start : sentence.end])
    return f'<mark class="rests {strength}" id="rests-{rank}">{text}<sup>{rank}</sup></mark>'
