"""python -m finetune RECIPE [section.key=value ...]: LoRA fine-tuning of one recipe."""

import argparse
import sys

from finetune.errors import UserError
from finetune.recipe import read_recipe


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m finetune", description="Fine-tune a T5 as a recipe says.")
    parser.add_argument("recipe", help="YAML file, for example recipes/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for example lora.rank=16")
    options = parser.parse_args(argv)
    try:
        recipe = read_recipe(options.recipe, options.overrides)
        # Importing torch takes seconds; a mistake in the recipe is told before.
        from finetune.run import fit

        print(fit(recipe))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
