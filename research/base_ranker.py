"""Fits the sentence ranker that comes with a base to pairs of many kinds, and writes it into the base's folder.

    python -m research.base_ranker models/base FILE[=WEIGHT] ...

A FILE is JSONL, compressed or not, with `document` and `summary`; its first documents count, each as WEIGHT ones.
"""

import argparse
import json
from pathlib import Path

import fsspec
from datasets import Dataset

from finetune.data.sentence_targets import RankedPair, ranked_pairs
from finetune.errors import UserError
from finetune.evaluation.sentence_ranker import write_ranker
from finetune.recipe import Recipe
from finetune.recipe_io import read_recipe
from finetune.training.model import load_base
from finetune.training.sentence_ranker_fit import fit_sentence_ranker

DOCUMENTS = 500  # of a file
SUMMARY_WORDS = 8  # a shorter summary is a title


def read_pairs(path: str) -> Dataset:
    """The pairs of a file whose summary is a sentence."""
    with fsspec.open(path, "rt", encoding="utf-8", compression="infer") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if len((row["summary"] or "").split()) >= SUMMARY_WORDS]
    return Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m research.base_ranker", description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="the base's folder")
    parser.add_argument("files", nargs="+", metavar="FILE[=WEIGHT]")
    parser.add_argument("--recipe", default="recipes/embedded.yaml", help="whose prefix and length limit count")
    options = parser.parse_args()
    recipe: Recipe = read_recipe(options.recipe)
    model, tokenizer = load_base(recipe.model.model_copy(update={"name": str(options.base), "revision": None}))
    pairs: list[RankedPair] = []
    importance: list[float] = []
    for argument in options.files:
        path, _, weight = argument.partition("=")
        pairs += ranked_pairs(read_pairs(path), tokenizer, recipe, DOCUMENTS)
        importance += [float(weight or 1)] * (len(pairs) - len(importance))
    write_ranker(fit_sentence_ranker(model, pairs, None, importance=importance), options.base)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (UserError, OSError) as error:
        raise SystemExit(str(error)) from error
