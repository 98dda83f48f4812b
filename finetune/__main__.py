"""The command line of fine-tuning: run, check or list recipes, and push a run to a hub."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.recipe_io import read_recipe

DRY_RUN_STEPS, DRY_RUN_DOCUMENTS = 2, 8
EXAMPLES = """examples:
  python -m finetune recipes/embedded.yaml                    train, merge and score
  python -m finetune recipes/embedded.yaml lora.rank=16       the same with another setting
  python -m finetune --check recipes/own-data.yaml            show counts, lengths and memory; train nothing
  python -m finetune --dry-run recipes/own-data.yaml          run every part on two steps; keep nothing
  python -m finetune --list                                   list the recipes
  python -m finetune push artifacts/embedded OWNER/NAME       upload a run to a hub
"""
PUSH_EXAMPLE = "examples:\n  python -m finetune push --public artifacts/embedded OWNER/NAME"


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0, 1 after an error message, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    is_first_process = os.environ.get("RANK", "0") == "0"  # `accelerate launch` starts several
    try:
        message = _push(argv) if _first_positional(argv) == "push" else _finetune(argv)
    except UserError as error:
        if is_first_process:
            print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if is_first_process:
            print("Stopped. If it was training, the same command resumes from the last checkpoint.", file=sys.stderr)
        return 130
    if is_first_process:
        print(message)
    return 0


def _first_positional(argv: list[str]) -> str | None:
    return next((argument for argument in argv if not argument.startswith("-")), None)


def _finetune(argv: list[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="python -m finetune",
        description="Fine-tune a T5 as a recipe says. `push` uploads a finished run (python -m finetune push --help).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", help="YAML file, for example recipes/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for example lora.rank=16")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--list", action="store_true", help="list the recipes in recipes/")
    modes.add_argument("--check", action="store_true", help="check names, data and memory; train nothing")
    modes.add_argument("--dry-run", action="store_true", help="two steps and eight documents; keep nothing")
    options = parser.parse_intermixed_args(argv)
    if options.list:
        from finetune.reports.recipe_docs import recipe_titles

        return "\n".join(f"{os.path.relpath(path):<34} {title}" for path, title in recipe_titles())
    if options.recipe is None:
        parser.error("name a recipe, or use --list to see those in recipes/")
    recipe: Recipe = read_recipe(options.recipe, options.overrides)
    # torch takes seconds to import, so a mistake in the recipe is reported before.
    if options.check:
        from finetune.check import check

        return str(check(recipe))
    from finetune.run import fit

    if options.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            fit(_for_dry_run(recipe, Path(folder) / "run"))
        return "Every part of the run works; nothing was kept."
    return str(fit(recipe))


def _for_dry_run(recipe: Recipe, output: Path) -> Recipe:
    """The recipe with two training steps and at most eight validation documents."""
    documents = min(DRY_RUN_DOCUMENTS, recipe.data.validation_documents or DRY_RUN_DOCUMENTS)
    return recipe.model_copy(
        update={
            "output": str(output),
            "training": recipe.training.model_copy(update={"max_steps": DRY_RUN_STEPS, "evaluate_every": None}),
            "data": recipe.data.model_copy(update={"validation_documents": documents}),
        }
    )


def _push(argv: list[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="python -m finetune push",
        description="Upload a run (adapter, merged model, bundles, reports) to a model repository on the hub at "
        "HF_ENDPOINT.",
        epilog=PUSH_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of a run, for example artifacts/embedded")
    parser.add_argument("repository", metavar="OWNER/NAME", help="created if it does not exist")
    parser.add_argument("--public", action="store_true", help="make a created repository public instead of private")
    position = argv.index("push")
    options = parser.parse_intermixed_args(argv[:position] + argv[position + 1 :])
    from finetune.push import push

    return push(Path(options.run), options.repository, private=not options.public)


if __name__ == "__main__":
    raise SystemExit(main())
