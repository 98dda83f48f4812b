"""Gathers (document, summary) pairs that teach a choice, and keeps evaluation text out of them."""

import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from finetune.evaluation.baselines import mean_rouge
from finetune.files import write_text
from precis.text.candidates import candidate_sentences
from precis.text.sentences import sentence_spans
from research.pretrain.corpus import DATELINE, rows, shingles
from research.ranking.recipe import PairSet, PairsRecipe

REFERENCE_WORDS = range(5, 51)
LEAD_WORDS = range(10, 46)  # a first sentence that can stand for the text
MIN_SENTENCES = 3
MIN_ROUGE = 0.15  # of the best sentence: otherwise the reference speaks of something else
MIN_LEAD = 0.06  # of the best sentence before the mean of all: otherwise there is nothing to choose


def gather(recipe: PairsRecipe) -> dict[str, Counter]:
    """Writes train.jsonl and validation.jsonl; returns for each set the number of its rows by outcome.

    Raises UserError if a file cannot be read.
    """
    evaluation = {
        shingle
        for path in recipe.decontaminate_against
        for row in rows(Path(path))
        for text in (row["document"], row.get("summary") or "")
        for shingle in shingles(text, 1)
    }
    draw = random.Random(recipe.seed)
    splits: dict[str, list[str]] = {"train": [], "validation": []}
    counts: dict[str, Counter] = {}
    for name, pair_set in recipe.sets.items():
        read = list(rows(Path(recipe.folder) / pair_set.file))
        draw.shuffle(read)
        counts[name] = Counter()
        for document, summary, outcome in _judged(read, pair_set, evaluation):
            if counts[name]["used"] == pair_set.rows:
                break
            counts[name][outcome] += 1
            if outcome == "used":
                split = "train" if zlib.crc32(document.encode()) % recipe.held_out else "validation"
                splits[split].append(json.dumps({"document": document, "summary": summary, "set": name}))
    folder = Path(recipe.output)
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in splits.items():
        draw.shuffle(lines)
        write_text(folder / f"{split}.jsonl", "".join(f"{line}\n" for line in lines))
    return counts


def _judged(read: list[dict], pair_set: PairSet, evaluation: set[int]) -> Iterator[tuple[str, str, str]]:
    """Document, reference and outcome ("used", or why not) of each row."""
    for row in read:
        document, reference = row["document"], row.get(pair_set.reference) or ""
        if pair_set.reference == "lead":
            document, reference = _split_lead(document)
        words = LEAD_WORDS if pair_set.reference == "lead" else REFERENCE_WORDS
        if len(reference.split()) not in words:
            yield document, reference, "reference"
        elif any(shingle in evaluation for shingle in shingles(document, 5)):
            yield document, reference, "evaluation"
        else:
            yield document, reference, "used" if _teaches(document, reference) else "weak"


def _split_lead(document: str) -> tuple[str, str]:
    """The document without its first sentence, and that sentence without a dateline."""
    spans = list(sentence_spans(document))
    if len(spans) <= MIN_SENTENCES:
        return document, ""
    start, end = spans[0]
    return document[end:].strip(), DATELINE.sub("", " ".join(document[start:end].split()))


def _teaches(document: str, reference: str) -> bool:
    rewards = mean_rouge([candidate.text for candidate in candidate_sentences(document)], reference)
    if len(rewards) < MIN_SENTENCES:
        return False
    best = max(rewards)
    return best >= MIN_ROUGE and best - sum(rewards) / len(rewards) >= MIN_LEAD
