"""Trust: how well the risk of a certificate tells corrupted summaries from sound ones, and what reranking gains.

    python -m benchmarks.grounding

Corrupts 200 texts of Gazette validation, sentences and reference summaries: a name or number for another one of the
document, or halves of two sentences. Prints tables in Markdown: what the certificates of the embedded bundle release;
areas under the ROC curve of its risk, of the marks alone (seams, new words, unsupported spans) and of the word check
(unsupported spans); marked summaries of Gazette validation and ROUGE, with and without reranking by grounding.
"""

import argparse
import functools
import itertools
import random
import re

import numpy as np

from benchmarks.quality import GAZETTE, read
from benchmarks.server import ROOT
from finetune.evaluation.rouge import rouge_by_document
from precis import Engine, EngineError, GenerationParams, Summary
from precis.grounding.evidence import find_evidence
from precis.grounding.reranking import count_marks
from precis.grounding.risk import features, risk
from precis.text.candidates import candidate_sentences
from precis.text.tokenizer import TextTokenizer

NAME, NUMBER = re.compile(r"(?<=[a-z,] )[A-Z]\w+(?: [A-Z]\w+)*"), re.compile(r"\d(?:[\d.,]*\d)?")
CORRUPTED, BATCH = 200, 16


def swapped(pattern: re.Pattern[str], text: str, document: str, rng: random.Random) -> str | None:
    """The text with one match of the pattern for another one of the document; None if there is none."""
    matches = list(pattern.finditer(text))
    match = rng.choice(matches) if matches else None
    others = sorted({*pattern.findall(document)} - {match.group()}) if match else []
    return text[: match.start()] + rng.choice(others) + text[match.end() :] if match and others else None


def spliced(text: str, document: str, rng: random.Random) -> str | None:
    """The first half of the text with the second half of another sentence of the document."""
    others = [item.text.split() for item in candidate_sentences(document) if item.text != text] or [[]]
    words, other = text.split(), rng.choice(others)
    return " ".join(words[: len(words) // 2] + other[len(other) // 2 :]) if other else None


Table = list[list[object]]
KINDS = {"name": functools.partial(swapped, NAME), "number": functools.partial(swapped, NUMBER), "halves": spliced}
GROUPS = [f"{source}, {kind}" for source in ("sentence", "reference") for kind in KINDS]


def cases(rows: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(group, document, text): each corrupted text, its group its source and kind, follows its sound one, group ""."""
    rng, made = random.Random(0), list[tuple[str, str, str]]()
    for number in range(10 * CORRUPTED):
        document, reference = rows[number % len(rows)]
        kind, source = list(KINDS)[number % 3], ("sentence", "reference")[number % 2]
        text = reference if source == "reference" else rng.choice(candidate_sentences(document)).text
        if len(made) < 2 * CORRUPTED and (corrupted := KINDS[kind](text, document, rng)):
            made += [("", document, text), (f"{source}, {kind}", document, corrupted)]
    return made


def auroc(sound: list[float], corrupted: list[float]) -> float:
    """The probability that a corrupted text has the larger value, ties counting half (Mann-Whitney)."""
    return round(float(np.sign(np.subtract.outer(corrupted, sound)).mean() / 2 + 0.5), 3)


def scored(engine: Engine, texts: list[tuple[str, str, str]]) -> list[Summary]:
    """Each text as if the model had written it, with the model's log-probabilities."""
    tokenizer, summaries = TextTokenizer.load(engine.bundle), list[Summary]()
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        tokens = tokenizer.encode_sentences([text for _, _, text in batch])
        inputs = [tokenizer.truncate(tokenizer.encode(document)) for _, document, _ in batch]
        for (_, _, text), own, logits in zip(batch, tokens, engine.teacher_forced_logits(inputs, tokens), strict=True):
            values = logits[np.arange(len(own)), own] - np.logaddexp.reduce(logits, axis=1)
            scores = {"score": float(values.mean()), "min_token_score": float(values.min())}
            summaries.append(Summary(text, own, 0, len(own), 1, 0, "end", **scores))
    return summaries


def released(engine: Engine) -> Table:
    """For each level of the bundle's certificates the shares in percent that each mode releases, and of wrong ones."""
    certificates = [item for item in (engine.bundle.manifest.trust, engine.bundle.manifest.extraction_trust) if item]
    names = [f"{item.mode}: {name}" for item in certificates for name in ("released", "wrong")]
    table: Table = [["at most wrong", *names]]
    for levels in zip(*(item.levels for item in certificates), strict=True):
        shares = [percent(share) for level in levels for share in (level.released, level.wrong)]
        table.append([percent(levels[0].alpha), *shares])
    return table


def percent(share: float | None) -> str:
    """The share in percent; nothing for None."""
    return "" if share is None else f"{100 * share:.3g}%"


def areas(engine: Engine, rows: list[tuple[str, str]]) -> Table:
    """The area under the ROC curve of each measure, by group of corrupted texts."""
    certificate, texts = engine.bundle.manifest.trust, cases(rows)
    assert certificate
    evidence = [find_evidence(document, text) for _, document, text in texts]
    values = [value for value in map(features, scored(engine, texts), evidence) if value]
    measures = {
        "risk": [risk(certificate.weights, certificate.bias, value) for value in values],
        "marks": [sum(value[name] for name in ("seams", "novel", "unsupported")) for value in values],
        "word check": [float(len(item.unsupported)) for item in evidence],
    }
    table: Table = [["text", "corrupted", *measures]]
    for group in GROUPS:
        places = [i for i, case in enumerate(texts) if case[0] == group]
        values_of = [([row[i - 1] for i in places], [row[i] for i in places]) for row in measures.values()]
        table.append([*group.split(", "), *(auroc(sound, corrupted) for sound, corrupted in values_of)])
    return table


def reranked(engine: Engine, rows: list[tuple[str, str]]) -> Table:
    """The share of marked summaries, and the means of ROUGE-1, -2 and -L, by beams and reranking."""
    documents, references = [row[0] for row in rows], [row[1] for row in rows]
    table: Table = [["beams", "rerank", "with marks", "ROUGE-1", "ROUGE-2", "ROUGE-L"]]
    for num_beams, rerank in itertools.product((2, 4), ("none", "grounding")):
        params = GenerationParams(mode="write", num_beams=num_beams, rerank=rerank)
        texts = [summary.text for summary in engine.generate(documents, params)]
        marked = [count_marks(find_evidence(*pair)) > 0 for pair in zip(documents, texts, strict=True)]
        rouge = rouge_by_document(texts, references)
        means = [round(float(np.mean(rouge[kind])), 2) for kind in ("rouge1", "rouge2", "rougeL")]
        table.append([num_beams, rerank, percent(float(np.mean(marked))), *means])
    return table


def show(table: Table) -> None:
    """Prints the table, of which the first row is the head."""
    for row in (table[0], ["---" for _ in table[0]], *table[1:]):
        print("|", " | ".join(str(cell) for cell in row), "|")
    print(flush=True)


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.grounding", description=__doc__.splitlines()[0]).parse_args()
    pairs = read(GAZETTE)
    try:
        engine = Engine.load(ROOT / "artifacts/embedded/bundle-int8")
    except EngineError as error:
        raise SystemExit(f"{error} make model builds it.") from None
    with engine:
        show(released(engine))
        show(areas(engine, pairs))
        show(reranked(engine, pairs))


if __name__ == "__main__":
    main()
