"""Where a document has the words that its summary asks for."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TypeVar

from precis.grounding.names import acronym, capitalized_runs, may_be_in_name
from precis.grounding.numerals import numbers
from precis.grounding.tokens import SourceToken, source_tokens
from precis.grounding.words import HYPHEN, Spelling, Word, stem, words

CHECK_INTERVAL = 1024  # words or numbers between two calls of `check`

Item = TypeVar("Item")


class SummaryWords:
    """A summary's words, numbers and sentences (their spans); `names` has the words of a name by each one of them."""

    def __init__(self, text: str, sentences: list[tuple[int, int]]) -> None:
        self.text = text
        self.words = list(words(text))
        self.numbers = list(numbers(text))
        self.sentences = sentences
        self.names = {word: run for run in capitalized_runs(text, self.words) for word in run}

    def words_by_sentence(self) -> list[list[Word]]:
        """The words of each sentence, of sentences that are alike of the first."""
        starts = [word.start for word in self.words]
        first_of: dict[str, tuple[int, int]] = {}
        for start, end in self.sentences:
            first_of.setdefault(self.text[start:end], (bisect_left(starts, start), bisect_left(starts, end)))
        return [self.words[first:last] for first, last in first_of.values()]


class DocumentIndex:
    """Where a document has what a summary asks for; of other words it keeps nothing, so that long texts need no memory.

    It reads the tokens of the document in order. Then `sentences` has for each key the sorted numbers of those of
    `spans` that hold it, and `keys` the keys, of words and of parts of hyphenated ones, that occur.
    """

    def __init__(
        self, document: str, spans: list[tuple[int, int]], summary: SummaryWords, check: Callable[[], None]
    ) -> None:
        self._document, self._check = document, check
        self._wanted = set(map(acronym, summary.names.values()))
        for word in summary.words:
            self._wanted.update((word.key, HYPHEN.sub("", word.key), *word.parts))
        self.spans = spans
        self.sentences: dict[str, array[int]] = {}
        self.keys: set[str] = set()

    def matters(self, spelling: Spelling) -> bool:
        """Whether words so spelled have to be read."""
        return spelling.key in self._wanted or not self._wanted.isdisjoint(spelling.parts)

    def read(self, token: SourceToken) -> None:
        """Takes in the next token; all that do not matter may be left out."""
        if token.spelling is None or not self.matters(token.spelling):
            return
        key = token.spelling.key
        self.keys.update((key, *token.spelling.parts))
        sentences = self.sentences.setdefault(key, array("q"))
        if not sentences or sentences[-1] != token.sentence:
            sentences.append(token.sentence)

    def has(self, word: Word) -> bool:
        """Whether the document has the word, its parts, or the name that it is the acronym of."""
        return self._has_key(word) or word.key in self._acronyms

    def has_form(self, word: Word) -> bool:
        """Whether the document has the word, its parts or the name, or another form of it."""
        return self._has_key(word) or stem(word.key) in self._stems or word.key in self._acronyms

    def _has_key(self, word: Word) -> bool:
        return (
            word.key in self.keys
            or HYPHEN.sub("", word.key) in self.keys
            or bool(word.parts and self.keys.issuperset(word.parts))
        )

    # Most summaries have no word that the document lacks, so the document is read for the following only if it is used.

    @cached_property
    def _stems(self) -> set[str]:
        """The stems of the document's words, and of parts of hyphenated ones, that those of the summary have too."""
        wanted = set(map(stem, self._wanted))

        def stems(spelling: Spelling) -> set[str]:
            return wanted.intersection(map(stem, (spelling.key, *spelling.parts)))

        tokens = source_tokens(self._document, self.spans, lambda spelling: bool(stems(spelling)), self._check)
        return {item for token in tokens if token.spelling for item in stems(token.spelling)}

    @cached_property
    def _acronyms(self) -> set[str]:
        """The acronyms of the document's names that the summary has as words."""
        runs = capitalized_runs(self._document, checked(words(self._document, may_be_in_name), self._check))
        return self._wanted.intersection(map(acronym, runs))


def checked(items: Iterable[Item], check: Callable[[], None]) -> Iterator[Item]:
    """The items; calls `check` between some of them."""
    for number, item in enumerate(items):
        if not number % CHECK_INTERVAL:
            check()
        yield item
