"""The pre-training tasks: each makes an (input, target) pair of token lists from a document.

Each task has a prefix, as in T5 (Raffel et al. 2020). `Tasks.example` draws an example.
"""

import random
import re
from collections import defaultdict

import sentencepiece

from finetune.errors import UserError
from research.pretrain.corpus import Document
from research.pretrain.initialisation import SENTINELS
from research.pretrain.recipe import Corpus, Weights

END = 1
FIRST_WORD_PIECE = 300  # below are the special tokens, the bytes and the most frequent fragments
TRIES = 1000  # documents that do not fit a task before it fails
MAX_TARGET = 63  # tokens, before the end token
CONTINUATION = 160  # tokens: fluency comes from target tokens, so this task has long targets
_CONTENT = re.compile(r"[A-Za-z]{4,}|\d+")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{3,}")
_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?![\d.,]*\d)")


def content(sentence: str) -> set[str]:
    """The content words: words of at least four letters, and numbers."""
    return set(_CONTENT.findall(sentence.lower()))


def gap_sentence(sentences: list[str]) -> int | None:
    """Index of the sentence of 8 to 40 words that shares most with the rest, by ROUGE-1 F1 of content words.

    PEGASUS's independent principal sentence (Zhang et al. 2020). None if no sentence has this length.
    """
    words = [content(sentence) for sentence in sentences]
    counts: dict[str, int] = defaultdict(int)
    for group in words:
        for word in group:
            counts[word] += 1
    best, best_index = 0.0, None
    for i, group in enumerate(words):
        if group and 8 <= sentences[i].count(" ") + 1 <= 40:
            shared = sum(counts[word] > 1 for word in group)
            # The rest are the words that other sentences hold.
            score = 2 * shared / (len(group) + len(counts) - sum(counts[word] == 1 for word in group))
            if score > best:
                best, best_index = score, i
    return best_index


def nearest_sentence(sentences: list[str], summary: str) -> int | None:
    """Index of the sentence of 8 to 40 words that covers most of `summary`, by F2 of content words: recall counts more.

    The extractive oracle of Nallapati et al. (2017) for one sentence. None if none shares two words with it.
    """
    summary_words = content(summary)
    best, best_index = 0.0, None
    for i, sentence in enumerate(sentences):
        group = content(sentence)
        shared = len(group & summary_words)
        if shared >= 2 and 8 <= sentence.count(" ") + 1 <= 40:
            score = 5 * shared / (4 * len(summary_words) + len(group))
            if score > best:
                best, best_index = score, i
    return best_index


def rename(text: str, target: str, draw: random.Random, names: list[str]) -> tuple[str, str]:
    """Replaces names and numbers of the target, with the same replacements in both texts.

    A model that writes the usual name is wrong then; one that copies is right.
    """
    for pattern in (_NAME, _NUMBER):
        shared = [word for word in set(pattern.findall(target)) if re.search(rf"\b{word}\b", text)]
        for old in sorted(shared)[:2]:
            new = draw.choice(names) if pattern is _NAME else str(draw.randint(2, 999))
            text, target = (re.sub(rf"\b{old}\b", new, part) for part in (text, target))
    return text, target


class Tasks:
    """Draws examples from a corpus. Inputs and targets end with the end token."""

    def __init__(self, documents: list[Document], settings: Corpus, tokenizer: sentencepiece.SentencePieceProcessor):
        self._sp = tokenizer
        fit = {"prose": lambda document: True, "title": lambda document: document.title}
        fit["summarize"] = lambda document: document.summary
        fit["extract"] = lambda document: document.summary or document.title
        self._sets: dict[str, list[list[Document]]] = {}
        self._weights: dict[str, list[float]] = {}
        for kind, fits in fit.items():
            sets: dict[str, list[Document]] = defaultdict(list)
            weights = {name: _weight(text_set.weights, kind) for name, text_set in settings.sets.items()}
            for document in documents:
                if fits(document) and weights[document.source]:
                    sets[document.source].append(document)
            self._sets[kind] = list(sets.values())
            self._weights[kind] = [weights[name] for name in sets]
        sample = " ".join(s for group in self._sets["prose"] for d in group[:800] for s in d.sentences[:4])
        # Words that also occur in lower case are not names.
        self._names = sorted(
            set(_NAME.findall(sample)) - {word.capitalize() for word in sample.split() if word.islower()}
        )
        self._pieces = tokenizer.get_piece_size()

    def example(self, task: str, length: int, draw: random.Random) -> tuple[list[int], list[int]]:
        """An example of `task` with at most `length` input tokens; a target that was cut has no end token.

        Raises UserError if the corpus has no document for the task.
        """
        for _ in range(TRIES):
            example = getattr(self, f"_{task}")(length - 1, draw)
            if example and example[1]:
                source, target = example
                limit = CONTINUATION if task == "continue" else MAX_TARGET
                ends = [END] if len(target) <= limit and task not in ("continue", "after") else []
                return [*source[: length - 1], END], [*target[:limit], *ends]
        raise UserError(f"stages: no document of the corpus fits the task {task} at {length} tokens.")

    def _pick(self, kind: str, draw: random.Random) -> Document:
        """Draws a document for a kind of task: a set by its weight, then any of its documents."""
        if not self._sets[kind]:
            raise UserError(f"corpus.sets: none has documents with a weight for {kind}.")
        (group,) = draw.choices(self._sets[kind], self._weights[kind])
        return draw.choice(group)

    def _window(self, document: Document, limit: int, first: int = 0) -> list[str]:
        """Sentences from `first` on, of about `limit` tokens together (the caller cuts)."""
        window, used = [], 0
        for sentence in document.sentences[first:]:
            used += len(sentence) // 5 + 2
            if window and used > limit:
                break
            window.append(sentence)
        return window

    def _text(self, draw: random.Random, limit: int) -> list[int]:
        """A run of `limit` tokens of prose, from anywhere in a document."""
        document = self._pick("prose", draw)
        first = draw.randrange(len(document.sentences))
        return self._sp.encode(" ".join(self._window(document, limit + 40, first)))[:limit]

    def _random(self, length, draw):
        """copy: random pieces, of which nothing can be guessed."""
        pieces = [draw.randrange(FIRST_WORD_PIECE, self._pieces) for _ in range(draw.randint(8, min(48, length - 4)))]
        return self._sp.encode("copy: ") + pieces, pieces

    def _copy(self, length, draw):
        """copy: a run of real text."""
        text = self._text(draw, draw.randint(12, min(MAX_TARGET, length - 4)))
        return self._sp.encode("copy: ") + text, text

    def _after(self, length, draw):
        """after: four pieces and a text; the target is what follows them in it."""
        text = self._text(draw, length - 12)
        if len(text) < 40:
            return None
        at = draw.randrange(len(text) - 30)
        return self._sp.encode("after: ") + text[at : at + 4] + self._sp.encode(" in: ") + text, text[at + 4 : at + 36]

    def _fill(self, length, draw):
        """fill: span corruption (T5): 15% of the tokens in spans of 3 on average, each replaced by a sentinel."""
        text = self._text(draw, min(length - 2, 4 * MAX_TARGET))
        spans = max(1, round(len(text) * 0.15 / 3))
        if len(text) < 20:
            return None
        starts = sorted(draw.sample(range(0, len(text) - 5, 6), min(spans, (len(text) - 5) // 6)))
        source, target, last = self._sp.encode("fill: "), [], 0
        for number, start in enumerate(starts):
            sentinel, end = self._pieces + SENTINELS - 1 - number, start + draw.randint(1, 5)
            source += [*text[last:start], sentinel]
            target += [sentinel, *text[start:end]]
            last = end
        return source + text[last:], target

    def _continue(self, length, draw):
        """continue: the beginning of a text, long or short; the target is its continuation."""
        text = self._text(draw, length - 3 + CONTINUATION)
        if len(text) < 60:
            return None
        cut = max(draw.randint(12, length - 3), len(text) - CONTINUATION)
        return (self._sp.encode("continue: ") + text[:cut], text[cut:]) if len(text) - cut >= 20 else None

    def _pair(self, prefix: str, body: str, target: str, draw: random.Random):
        """Encodes both texts; a quarter of the examples get other names and numbers, the same in both."""
        if draw.random() < 0.25 and self._names:
            body, target = rename(body, target, draw, self._names)
        return self._sp.encode(prefix + body), self._sp.encode(target)

    def _gap(self, length, draw):
        """sentence: (or summarize:) a text, sometimes without its principal sentence, which is the target."""
        document = self._pick("prose", draw)
        first = 0 if draw.random() < 0.7 else draw.randrange(len(document.sentences))
        body = self._window(document, length, first)
        index = gap_sentence(body) if len(body) >= 4 else None
        if index is None:
            return None
        target = body[index]
        prefix = "sentence: "
        if draw.random() < 0.25:
            del body[index]
        elif draw.random() < 0.5:
            # The served model should select before it invents, so only this form has the served prefix.
            prefix = "summarize: "
        return self._pair(prefix, " ".join(body), target, draw)

    def _extract(self, length, draw):
        """summarize: a text with a human summary or title; the target is the sentence that is nearest to it."""
        document = self._pick("extract", draw)
        body = self._window(document, length)
        index = nearest_sentence(body, document.summary or document.title) if len(body) >= 3 else None
        return None if index is None else self._pair("summarize: ", " ".join(body), body[index], draw)

    def _lead(self, length, draw):
        """lead: a text without its first sentence, which is the target, as XSum was built."""
        document = self._pick("prose", draw)
        body = self._window(document, length + 40)
        if not document.opening or len(body) < 4 or not 8 <= body[0].count(" ") + 1 <= 45:
            return None
        if len(content(body[0]) & content(" ".join(body[1:]))) < 3:
            return None
        return self._pair("lead: ", " ".join(body[1:]), body[0], draw)

    def _title(self, length, draw):
        """title: a text; the target is its title."""
        document = self._pick("title", draw)
        return self._pair("title: ", " ".join(self._window(document, length)), document.title, draw)

    def _summarize(self, length, draw):
        """summarize: a text; the target is its human one-sentence summary."""
        document = self._pick("summarize", draw)
        return self._pair("summarize: ", " ".join(self._window(document, length)), document.summary, draw)


def _weight(weights: Weights, kind: str) -> float:
    """A set's weight for a kind of task; `extract` uses summaries first, else titles."""
    return (weights.summarize or weights.title) if kind == "extract" else getattr(weights, kind)
