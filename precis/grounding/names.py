"""Names in a text, which are recognized by their capitals, and their acronyms."""

import re
from collections.abc import Iterable, Iterator

from precis.grounding.words import Spelling, Word, is_capitalized, key
from precis.text.abbreviations import OPENERS

MAX_RUN = 64  # words of a name

CONNECTORS = frozenset(("of", "the", "and", "for", "in", "de", "la", "du"))  # small words within a name


def may_be_in_name(spelling: Spelling) -> bool:
    """Whether words so spelled can be part of a name."""
    return is_capitalized(spelling.text) or spelling.key in CONNECTORS


def is_name(word: Word, sentence_starts: set[int], run: tuple[Word, ...]) -> bool:
    """Whether a capitalized word is a name; at the head of a sentence a second capital has to confirm it."""
    if sum(char.isupper() for char in word.text) > 1:
        return True
    if re.split("['’]", word.text)[0].casefold() in OPENERS:  # They're
        return False
    return word.start not in sentence_starts or len(run) > 1


def capitalized_runs(text: str, text_words: Iterable[Word]) -> Iterator[tuple[Word, ...]]:
    """Capitalized words that follow one another, without the connectors between them; at most MAX_RUN of them.

    `text_words` are the words of `text`, or those that `may_be_in_name`.
    """
    run: list[Word] = []
    end = 0
    for word in text_words:
        adjacent = not run or text[end : word.start].strip(" ") in ("", "&")
        is_opener = word.text.casefold() in OPENERS
        if word.capitalized and adjacent and (run or not is_opener) and len(run) < MAX_RUN:
            run.append(word)
        elif not (run and adjacent and word.key in CONNECTORS):
            if run:
                yield tuple(run)
            run = [word] if word.capitalized and not is_opener else []
        end = word.end
    if run:
        yield tuple(run)


def acronym(run: tuple[Word, ...]) -> str:
    """The key of the run's acronym; a single word has none ("\\0" equals no key)."""
    return "".join(key(word.text[0]) for word in run) if len(run) > 1 else "\0"
