"""Extraction: which sentences of a text are scored against which source, and which of them are chosen.

A text that the model reads in one is the source of all its candidate sentences. Of a longer text, each chunk is the
source of its own ones; the best of every chunk then stand side by side in a shorter source and are ranked again, until
one source holds them all. Only whole sentences are chosen, and each stands in the text.
"""

from collections.abc import Callable
from dataclasses import dataclass

from precis.params import ResolvedParams
from precis.scheduling.sequence import Sequence
from precis.text.body import body_sentences
from precis.text.candidates import Candidate, best_indices, candidate_sentences, eligible
from precis.text.tokenizer import TextTokenizer

SCORE_DIGITS = 6  # after the decimal point


@dataclass(frozen=True)
class ExtractedSentence:
    """A chosen sentence, at text[start:end] in characters.

    `score` is its log-probability, normalized by its length in tokens and rounded: the higher, the better.
    """

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class _Scored:
    """A candidate with its tokens and its latest score."""

    candidate: Candidate
    tokens: list[int]
    score: float = 0.0


class Extraction:
    """The stages of one request: `start`, then `advance` until no sequences are left to run."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        text: str,
        input_ids: list[int],
        params: ResolvedParams,
        split: bool,
        is_cancelled: Callable[[], bool],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`input_ids` are the tokens of `text`; with `split`, a text of more than the model reads is read in chunks.

        `check` is called during long work, and what it raises ends it.
        """
        self._tokenizer, self._params, self._is_cancelled = tokenizer, params, is_cancelled
        self.truncated_tokens = 0
        self._chosen: list[_Scored] = []
        if len(input_ids) <= tokenizer.limit:
            spans = [(0, len(text))]
            sources = [input_ids]
        elif split:
            spans = tokenizer.chunk_spans(text, check)
            sources = [tokenizer.encode(text[start:end], check) for start, end in spans]
        else:
            spans = [(0, tokenizer.read_end(text, check))]
            sources = [input_ids]
        self.chunks = len(spans)
        self._sources = [self._truncated(source) for source in sources]
        self._groups = self._candidates(text, spans, check)

    def start(self) -> list[Sequence]:
        """The rankings of the present stage, one for each source; empty if no sentence of the text was read."""
        self._sequences = [
            Sequence(source, self._params, self._is_cancelled, sentences=[item.tokens for item in group])
            for source, group in zip(self._sources, self._groups, strict=True)
        ]
        return self._sequences

    def advance(self) -> list[Sequence]:
        """The rankings of the next stage, once those of the present one are finished; empty after the last stage."""
        scored = [
            [_Scored(item.candidate, item.tokens, score) for item, score in zip(group, sequence.scores, strict=True)]
            for group, sequence in zip(self._groups, self._sequences, strict=True)
        ]
        count = self._params.sentences
        counts = [min(count, max(1, len(group) // 2)) for group in scored]
        if sum(counts) < count or len(scored) == 1:
            counts = [count] * len(scored)
        best = [item for group, number in zip(scored, counts, strict=True) for item in _best(group, number)]
        groups = self._pack(best) if len(scored) > 1 else []
        # Where sentences are so long that their sources would not become fewer, the scores that they have decide.
        if not groups or len(groups) >= len(scored):
            self._chosen = _best(best, count)
            return []
        self._groups = groups
        self._sources = [
            self._truncated(self._tokenizer.encode(" ".join(item.candidate.text for item in group))) for group in groups
        ]
        return self.start()

    @property
    def sentences(self) -> list[ExtractedSentence]:
        """The chosen sentences in the order of the text, after the last stage."""
        return [
            ExtractedSentence(item.candidate.start, item.candidate.end, round(item.score, SCORE_DIGITS))
            for item in self._chosen
        ]

    @property
    def summary(self) -> str:
        """The chosen sentences joined by a space, each run of whitespace in them one space."""
        return " ".join(item.candidate.text for item in self._chosen)

    @property
    def token_ids(self) -> list[int]:
        """The tokens of the chosen sentences without end tokens."""
        return [token for item in self._chosen for token in self._params.strip_special_tokens(item.tokens)]

    def _candidates(self, text: str, spans: list[tuple[int, int]], check: Callable[[], None]) -> list[list[_Scored]]:
        """The candidate sentences of each span; sources without any are dropped."""
        sentences = body_sentences(text)
        groups: list[list[Candidate]] = []
        read = 0  # chunks overlap, and a sentence is a candidate of the first one that holds it
        for start, end in spans:
            groups.append(candidate_sentences(text, max(start, read), end, sentences))
            read = end
        if not any(groups):  # the model reads nothing but whitespace, or a part of one character
            groups[0] = candidate_sentences(text)[:1]
        remaining = set(eligible([candidate for group in groups for candidate in group]))
        groups = [[candidate for candidate in group if candidate in remaining] for group in groups]
        self._sources = [source for source, group in zip(self._sources, groups, strict=True) if group]
        return [self._scored(group, check) for group in groups if group]

    def _scored(self, candidates: list[Candidate], check: Callable[[], None]) -> list[_Scored]:
        tokens = self._tokenizer.encode_sentences([candidate.text for candidate in candidates], check)
        return [_Scored(*pair) for pair in zip(candidates, tokens, strict=True)]

    def _pack(self, items: list[_Scored]) -> list[list[_Scored]]:
        """`items` in order, in as few groups as fit into a source each."""
        prefix = len(self._tokenizer.encode(""))
        groups: list[list[_Scored]] = []
        room = 0
        for item in items:
            if not groups or len(item.tokens) > room:
                groups.append([])
                room = self._tokenizer.limit - prefix
            groups[-1].append(item)
            room -= len(item.tokens)  # the end token makes up for one that joining may add
        return groups

    def _truncated(self, source: list[int]) -> list[int]:
        """The tokens of `source` that the model reads; the others are counted."""
        self.truncated_tokens += max(0, len(source) - self._tokenizer.limit)
        return self._tokenizer.truncate(source)


def _best(items: list[_Scored], count: int) -> list[_Scored]:
    """The `count` items with the highest scores, in order."""
    return [items[index] for index in best_indices([item.score for item in items], count)]
