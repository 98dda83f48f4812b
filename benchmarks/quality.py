"""Summary quality on documents that training never saw: single sentences, base and fine-tuned, with the same settings.

    python -m benchmarks.quality artifacts/embedded [NAME=FILE ...]

FILE is JSONL with `document` and `summary`; Gazette's validation split is always included. Beside the models stand the
lead, the longest and the most central sentence (TF-IDF), and the best one, which is chosen with the reference in hand.
Prints the figures and writes benchmarks/results/quality.json.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.server import ROOT
from finetune.errors import UserError
from finetune.evaluation.baselines import best_sentence, central_sentence, longest_sentence
from finetune.evaluation.rouge import lead_sentence, mean_interval, rouge_by_document
from finetune.evaluation.scoring import summarize
from finetune.evaluation.sentence_ranker import read_ranker
from finetune.files import write_json
from finetune.recipe import Recipe
from finetune.recipe_io import parse_recipe
from finetune.training.model import load_base

GAZETTE = ROOT / "data/gazette/validation.jsonl"
RESULTS = ROOT / "benchmarks/results/quality.json"
KINDS = ("rouge1", "rouge2", "rougeL")


def read(path: Path) -> list[tuple[str, str]]:
    """(document, summary) of each row. Raises UserError."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [(row["document"], row["summary"]) for row in rows]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not JSONL with `document` and `summary`: {error}.") from error


def measure(summaries: list[str], rows: list[tuple[str, str]]) -> dict[str, object]:
    """One row of the table: ROUGE with 95% intervals, and words."""
    scores = rouge_by_document(summaries, [reference for _, reference in rows])
    by_kind = {kind: mean_interval(scores[kind]) for kind in KINDS}
    return {
        **{kind: round(mean, 2) for kind, (mean, _) in by_kind.items()},
        "ci95": {kind: [round(end, 2) for end in ends] for kind, (_, ends) in by_kind.items()},
        "words": round(float(np.mean([len(summary.split()) for summary in summaries])), 1),
    }


def compare(run: Path, sets: dict[str, Path]) -> dict[str, dict[str, object]]:
    """Measures every system on every set. Raises UserError."""
    try:
        manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{run} is not a finished run: {error}.") from error
    recipe: Recipe = parse_recipe(manifest["recipe"])
    content = {name: read(path) for name, path in sets.items()}
    results: dict[str, dict[str, object]] = {}
    for name, rows in content.items():
        sentences = {
            "lead": [lead_sentence(document) for document, _ in rows],
            "longest": [longest_sentence(document) for document, _ in rows],
            "central": [central_sentence(document) for document, _ in rows],
            "best": [best_sentence(*row) for row in rows],
        }
        systems = {system: measure(texts, rows) for system, texts in sentences.items()}
        results[name] = {"documents": len(rows), "systems": systems}
    for system, folder in (("base", recipe.model.name), ("finetuned", str(run / "merged"))):
        model, tokenizer = load_base(recipe.model.model_copy(update={"name": folder, "revision": None}))
        for name, rows in content.items():
            documents = [document for document, _ in rows]
            summaries = summarize(model, tokenizer, documents, recipe, f"{system} on {name}", read_ranker(folder))
            results[name]["systems"][system] = measure(summaries, rows)
    return {"generation": recipe.generation.model_dump(), "sets": results}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder, for example artifacts/embedded")
    parser.add_argument("sets", nargs="*", metavar="NAME=FILE", help="more documents: JSONL")
    options = parser.parse_args()
    sets = {"Gazette validation": GAZETTE}
    try:
        for argument in options.sets:
            name, equals, path = argument.partition("=")
            if not equals:
                raise UserError(f"{argument!r} should read NAME=FILE.")
            sets[name] = Path(path)
        result = compare(options.run, sets)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for name, part in result["sets"].items():
        for system, figures in part["systems"].items():
            print(f"{name} ({part['documents']}), {system}: {json.dumps(figures)}")
    write_json(RESULTS, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
