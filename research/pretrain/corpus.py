"""Reads, cleans and deduplicates the text to pre-train on, and keeps evaluation text out of it."""

import json
import lzma
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import UserError
from finetune.reports.progress import track
from precis.text.sentences import split_sentences
from research.pretrain.recipe import Corpus

SHARED_WORDS = 13  # in a row in common mark evaluation text, as in GPT-3's decontamination
PRESET = 4  # of xz: the cache of a run need not be as small as possible
BOILERPLATE = 6  # a sentence in this many documents says nothing about any of them

_DATELINE = re.compile(
    r"^[\[(]?(?:[A-Z][A-Za-z.']*[,.]? ){0,3}[A-Z]{3,}[A-Za-z.,' ()/\d]{0,40}?[\])]?\s*(?:–|—|--|-)\s*(?=[A-Z\"“])"
)
_WORD = re.compile(r"[a-z0-9]+")


@dataclass
class Document:
    """Sentences of one document, in order, with its title and its summary if it has them."""

    source: str
    sentences: list[str]
    opening: bool  # whether the first sentence is the beginning of the document
    title: str | None = None
    summary: str | None = None


def is_prose(sentence: str) -> bool:
    """Whether it is a sentence: 4 to 80 words, mostly letters, a full stop or the like, no address or code."""
    words = sentence.split()
    letters = sum(letter.isalpha() or letter == " " for letter in sentence)
    return (
        4 <= len(words) <= 80
        and letters > 0.8 * len(sentence)
        and max(map(len, words)) < 28
        and sentence.rstrip("\"'”’)]")[-1:] in (".", "!", "?")
        and not re.search(r"https?:|www\.|[{}<>|\\]|@|###", sentence)
    )


def rows(path: Path) -> Iterator[dict]:
    """The rows of a JSONL file, compressed with xz or not. Raises UserError."""
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise UserError(f"Corpus file {path} cannot be read: {error}.") from error


def shingles(text: str, stride: int) -> Iterable[int]:
    """Hashes of SHARED_WORDS words in a row, starting at every `stride`-th word."""
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[i : i + SHARED_WORDS])) for i in range(0, len(words) - SHARED_WORDS + 1, stride))


def load_cached(settings: Corpus, seed: int, path: Path) -> tuple[list[Document], list[Document], dict[str, Counter]]:
    """Like `load`, with the result cached in `path` (.jsonl.xz) for a run that is resumed with the same settings."""
    key = settings.model_dump_json() + str(seed)
    if path.exists():
        first, *cached = rows(path)
        if first["key"] == key:
            documents = [Document(**row) for row in cached]
            return documents[: first["training"]], documents[first["training"] :], first["counts"]
    training, held_out, counts = load(settings, seed)
    partial = path.with_name(f".{path.name}.partial")
    with lzma.open(partial, "wt", encoding="utf-8", preset=PRESET) as file:
        for row in ({"key": key, "training": len(training), "counts": counts}, *map(vars, training + held_out)):
            print(json.dumps(row), file=file)
    partial.replace(path)
    return training, held_out, counts


def load(settings: Corpus, seed: int) -> tuple[list[Document], list[Document], dict[str, Counter]]:
    """Documents to train on, held-out documents, and for each set the number of its rows by outcome.

    Dropped are sentences that are not prose or are in BOILERPLATE documents, documents with fewer than three sentences,
    documents that begin like another, and those that share SHARED_WORDS + 5 words in a row with evaluation text.
    """
    evaluation = {
        shingle
        for path in settings.decontaminate_against
        for row in rows(Path(path))
        for text in (row["document"], row.get("summary") or "")
        for shingle in shingles(text, 1)
    }
    draw = random.Random(seed)
    documents: list[Document] = []
    counts: dict[str, Counter] = {}
    beginnings: set[int] = set()
    for name, text_set in track(list(settings.sets.items()), "cleaning (sets)"):
        read = list(rows(Path(settings.folder) / text_set.file))
        draw.shuffle(read)
        # Documents with a summary of their own are few and the best: a limit takes them first.
        read.sort(key=lambda row: _summary(row) is None)
        counts[name] = Counter(rows=len(read))
        for row in read[: text_set.rows]:
            document, reason = _clean(name, row, text_set.title, evaluation, beginnings)
            counts[name][reason] += 1
            if document:
                documents.append(document)
    seen = Counter(sentence for document in documents for sentence in set(document.sentences))
    for document in documents:
        document.opening &= seen[document.sentences[0]] < BOILERPLATE
        document.sentences = [sentence for sentence in document.sentences if seen[sentence] < BOILERPLATE]
    training, held_out = [], []
    for document in documents:
        if len(document.sentences) >= 3:
            is_held_out = zlib.crc32(document.sentences[0].encode()) % settings.held_out == 0
            (held_out if is_held_out else training).append(document)
            counts[document.source].update(used=1, words=sum(s.count(" ") + 1 for s in document.sentences))
            counts[document.source].update(summaries=document.summary is not None)
    return training, held_out, counts


def _summary(row: dict) -> str | None:
    """The row's summary, unless it is missing, too short or too long, or a copy of the opening."""
    summary = row.get("summary")
    copied = "=lead" in (row.get("summary_kind") or "") or row.get("lead_copy")
    return summary if summary and not copied and 4 <= len(summary.split()) <= 50 else None


def _clean(
    name: str, row: dict, title: str | None, evaluation: set[int], beginnings: set[int]
) -> tuple[Document | None, str]:
    """The cleaned document of a row, or None, and the outcome in a word."""
    cleaned = split_sentences(row["document"])
    if cleaned:
        cleaned[0] = _DATELINE.sub("", cleaned[0])
    opening = bool(cleaned) and is_prose(cleaned[0])
    cleaned = [sentence for sentence in cleaned if is_prose(sentence)]
    if len(cleaned) < 3:
        return None, "too_short"
    beginning = hash(tuple(_WORD.findall(" ".join(cleaned[:3]).lower())[:30]))
    if beginning in beginnings:
        return None, "duplicate"
    beginnings.add(beginning)
    if evaluation and any(shingle in evaluation for shingle in shingles(" ".join(cleaned), 5)):
        return None, "evaluation"
    heading = (row.get(title) or "").strip() if title else ""
    summary = None if title == "summary" else _summary(row)
    return Document(name, cleaned, opening, heading or None, summary and " ".join(summary.split())), "clean"
