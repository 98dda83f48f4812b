"""Gathers the pairs: python -m research.ranking RECIPE folder=DIR [key=value ...]"""

import argparse
import sys

from finetune.errors import UserError
from finetune.recipe_io import read_recipe
from research.ranking.pairs import gather
from research.ranking.recipe import PairsRecipe


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m research.ranking", description="Gather pairs that teach a choice.")
    parser.add_argument("recipe", help="YAML file, for example research/ranking/pairs.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example folder=DIR")
    options = parser.parse_args(argv)
    try:
        for name, counts in gather(read_recipe(options.recipe, options.overrides, PairsRecipe)).items():
            print(name, ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(counts.items())))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
