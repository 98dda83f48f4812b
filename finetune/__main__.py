"""The command line of fine-tuning.

python -m finetune RECIPE [section.key=value ...]     trains, merges, scores
python -m finetune --list                             the recipes in recipes/
python -m finetune --check RECIPE [...]               names, counts, lengths, memory; trains nothing
python -m finetune --dry-run RECIPE [...]             the whole road in two steps, keeps nothing
python -m finetune push RUN OWNER/NAME [...]          adapter, merged model and bundle to a hub
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from finetune.errors import UserError
from finetune.recipe import Recipe, read_recipe

DRY_STEPS, DRY_DOCUMENTS = 2, 8


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0, 1 after a sentence for the user, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate launches
    try:
        told = _push(argv[1:]) if argv[:1] == ["push"] else _finetune(argv)
    except UserError as error:
        if first:
            print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if first:
            print("Stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    if first:
        print(told)
    return 0


def _finetune(argv: list[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="python -m finetune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", help="YAML file, for example recipes/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for example lora.rank=16")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--list", action="store_true", help="the recipes there are")
    ways.add_argument("--check", action="store_true", help="look at names, data and memory, train nothing")
    ways.add_argument("--dry-run", action="store_true", help="two steps and eight documents, keep nothing")
    options = parser.parse_intermixed_args(argv)
    if options.list:
        from finetune.reports.recipe_docs import recipe_titles

        return "\n".join(f"{os.path.relpath(path):<34} {title}" for path, title in recipe_titles())
    if options.recipe is None:
        parser.error("name a recipe, or --list them")
    recipe = read_recipe(options.recipe, options.overrides)
    # Importing torch takes seconds; a mistake in the recipe is told before.
    if options.check:
        from finetune.check import check

        return str(check(recipe))
    from finetune.run import fit

    if options.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            fit(_shortened(recipe, Path(folder) / "run"))
        return "Every part of the run works; nothing was kept."
    return str(fit(recipe))


def _shortened(recipe: Recipe, output: Path) -> Recipe:
    """The same run in two steps, scored on eight documents."""
    documents = min(DRY_DOCUMENTS, recipe.data.validation_documents or DRY_DOCUMENTS)
    return recipe.model_copy(
        update={
            "output": str(output),
            "training": recipe.training.model_copy(update={"max_steps": DRY_STEPS, "evaluate_every": None}),
            "data": recipe.data.model_copy(update={"validation_documents": documents}),
        }
    )


def _push(argv: list[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="python -m finetune push", description="Uploads a run to a model repository of a hub (HF_ENDPOINT)."
    )
    parser.add_argument("run", help="folder of a run, for example artifacts/embedded")
    parser.add_argument("repository", metavar="OWNER/NAME", help="made where it is not there")
    parser.add_argument("--public", action="store_true", help="a repository that is made is open to all, not private")
    options = parser.parse_args(argv)
    from finetune.push import push

    return push(Path(options.run), options.repository, private=not options.public)


if __name__ == "__main__":
    raise SystemExit(main())
