"""The candidate sentences of a text: those that extraction ranks by the model's probability and chooses from."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from precis.text.body import body_sentences
from precis.text.sentences import stripped_span

CANDIDATE_WORDS = range(5, 51)  # a shorter sentence says too little, a longer one is no summary

Span = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """A sentence at text[start:end]; its own `text` has one space for each run of whitespace."""

    start: int
    end: int
    text: str


def candidate_sentences(
    text: str, start: int = 0, end: int | None = None, sentences: Sequence[Span] | None = None
) -> list[Candidate]:
    """The candidates that lie in text[start:end], the part of `text` that the model reads, in order.

    `sentences` are those of the body of `text`, if the caller has them. Only sentences that the part holds completely
    count, unless it holds none: then those that it holds a part of are cut.
    """
    end = len(text) if end is None else end
    sentences = body_sentences(text) if sentences is None else sentences
    first = bisect_left(sentences, (start, start))
    last = bisect_left(sentences, end, key=lambda span: span[0])
    spans = [span for span in sentences[first:last] if span[1] <= end]
    if not spans:
        first = max(0, first - 1)  # a sentence may have begun before `start`
        spans = [stripped_span(text, max(start, low), min(end, high)) for low, high in sentences[first:last]]
    candidates = [Candidate(low, high, " ".join(text[low:high].split())) for low, high in spans if low < high]
    return eligible(candidates)


def eligible(candidates: list[Candidate]) -> list[Candidate]:
    """Those of 5 to 50 words, or all if none is; of sentences that are alike the first."""
    by_text: dict[str, Candidate] = {}
    for candidate in candidates:
        by_text.setdefault(candidate.text, candidate)
    distinct = list(by_text.values())
    return [candidate for candidate in distinct if len(candidate.text.split()) in CANDIDATE_WORDS] or distinct


def best_indices(scores: Sequence[float], count: int) -> list[int]:
    """The indices of the `count` highest scores, in ascending order; of equal scores the first ones."""
    return sorted(sorted(range(len(scores)), key=lambda index: -scores[index])[:count])
