"""Reads, cleans and deduplicates the text that a base is pre-trained on, and holds evaluation text apart."""

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

SHARED_WORDS = 13  # a run of so many words in common marks evaluation text, as in GPT-3's decontamination
PRESET = 4  # of xz: what is kept for a run that goes on need not be as small as can be
BOILERPLATE = 6  # a sentence that stands in so many documents says nothing of any of them

_DATELINE = re.compile(
    r"^[\[(]?(?:[A-Z][A-Za-z.']*[,.]? ){0,3}[A-Z]{3,}[A-Za-z.,' ()/\d]{0,40}?[\])]?\s*(?:–|—|--|-)\s*(?=[A-Z\"“])"
)
_WORD = re.compile(r"[a-z0-9]+")


@dataclass
class Document:
    """Sentences of one document, in order, with its title and its summary where it has them."""

    source: str
    sentences: list[str]
    opening: bool  # whether the first of them is where the document begins
    title: str | None = None
    summary: str | None = None


def is_prose(sentence: str) -> bool:
    """Whether it reads as a sentence: 4 to 80 words, letters for the most part, an end, no address or code in it."""
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
    """The rows of a JSONL file, packed by xz or not. Raises UserError."""
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise UserError(f"Corpus file {path} cannot be read: {error}.") from error


def shingles(text: str, stride: int) -> Iterable[int]:
    """A hash of SHARED_WORDS words in a row, from every `stride`-th word on."""
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[i : i + SHARED_WORDS])) for i in range(0, len(words) - SHARED_WORDS + 1, stride))


def load_once(settings: Corpus, seed: int, path: Path) -> tuple[list[Document], list[Document], dict[str, Counter]]:
    """`load`, whose result is kept in `path` (.jsonl.xz) for a run that goes on with the same settings."""
    asked = settings.model_dump_json() + str(seed)
    if path.exists():
        first, *found = rows(path)
        if first["asked"] == asked:
            documents = [Document(**row) for row in found]
            return documents[: first["kept"]], documents[first["kept"] :], first["told"]
    kept, held_out, told = load(settings, seed)
    partial = path.with_name(f".{path.name}.partial")
    with lzma.open(partial, "wt", encoding="utf-8", preset=PRESET) as file:
        for row in ({"asked": asked, "kept": len(kept), "told": told}, *map(vars, kept + held_out)):
            print(json.dumps(row), file=file)
    partial.replace(path)
    return kept, held_out, told


def load(settings: Corpus, seed: int) -> tuple[list[Document], list[Document], dict[str, Counter]]:
    """Documents to train on, documents held out of them, and for each set what became of its rows.

    Dropped are: sentences that are no prose or stand in BOILERPLATE documents, documents left with under three,
    documents that begin as another does, and what shares SHARED_WORDS + 5 words in a row with a file in `apart`.
    """
    apart = {
        shingle
        for path in settings.apart
        for row in rows(Path(path))
        for text in (row["document"], row.get("summary") or "")
        for shingle in shingles(text, 1)
    }
    draw = random.Random(seed)
    documents: list[Document] = []
    told: dict[str, Counter] = {}
    beginnings: set[int] = set()
    for name, text_set in track(list(settings.sets.items()), "cleaning (sets)"):
        read = list(rows(Path(settings.folder) / text_set.file))
        draw.shuffle(read)
        # Those with a summary of their own are few and the best: a cap takes them first.
        read.sort(key=lambda row: _summary(row) is None)
        told[name] = Counter(rows=len(read))
        for row in read[: text_set.rows]:
            document, reason = _clean(name, row, text_set.title, apart, beginnings)
            told[name][reason] += 1
            if document:
                documents.append(document)
    seen = Counter(sentence for document in documents for sentence in set(document.sentences))
    for document in documents:
        document.opening &= seen[document.sentences[0]] < BOILERPLATE
        document.sentences = [sentence for sentence in document.sentences if seen[sentence] < BOILERPLATE]
    kept, held_out = [], []
    for document in documents:
        if len(document.sentences) >= 3:
            last = zlib.crc32(document.sentences[0].encode()) % settings.held_out == 0
            (held_out if last else kept).append(document)
            told[document.source].update(used=1, words=sum(s.count(" ") + 1 for s in document.sentences))
            told[document.source].update(summaries=document.summary is not None)
    return kept, held_out, told


def _summary(row: dict) -> str | None:
    """The row's summary, unless it is a copy of the opening or no summary at all."""
    summary = row.get("summary")
    copied = "=lead" in (row.get("summary_kind") or "") or row.get("lead_copy")
    return summary if summary and not copied and 4 <= len(summary.split()) <= 50 else None


def _clean(name: str, row: dict, title: str | None, apart: set[int], beginnings: set[int]):
    """The cleaned document of a row, or None, and the reason in a word."""
    found = split_sentences(row["document"])
    if found:
        found[0] = _DATELINE.sub("", found[0])
    opening = bool(found) and is_prose(found[0])
    found = [sentence for sentence in found if is_prose(sentence)]
    if len(found) < 3:
        return None, "too_short"
    beginning = hash(tuple(_WORD.findall(" ".join(found[:3]).lower())[:30]))
    if beginning in beginnings:
        return None, "double"
    beginnings.add(beginning)
    if apart and any(shingle in apart for shingle in shingles(" ".join(found), 5)):
        return None, "evaluation"
    heading = (row.get(title) or "").strip() if title else ""
    summary = None if title == "summary" else _summary(row)
    return Document(name, found, opening, heading or None, summary and " ".join(summary.split())), "clean"
