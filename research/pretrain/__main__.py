"""Pre-trains a base model from nothing: python -m research.pretrain RECIPE corpus.folder=DIR [section.key=value ...]"""

import argparse
import sys

from finetune.errors import UserError
from finetune.recipe_io import read_recipe
from research.pretrain.recipe import PretrainRecipe


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m research.pretrain", description="Pre-train a T5 from a recipe.")
    parser.add_argument("recipe", help="YAML file, for example research/pretrain/base.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for example corpus.folder=DIR")
    options = parser.parse_args(argv)
    try:
        recipe = read_recipe(options.recipe, options.overrides, PretrainRecipe)
        # Importing torch takes seconds; a mistake in the recipe is reported before.
        from research.pretrain.run import pretrain

        print(pretrain(recipe))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
