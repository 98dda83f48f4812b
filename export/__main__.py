"""python -m export RUN: the ONNX bundles of a run, each with its chain of proofs; and import, verify, sign."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.errors import UserError
from precis.errors import EngineError


def _make(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a run to ONNX and prove it equal.",
        epilog="python -m export verify BUNDLE and python -m export sign BUNDLE --key FILE are for finished bundles; "
        "python -m export import FOLDER RECIPE takes over what optimum-cli export onnx wrote.",
    )
    parser.add_argument("run", type=Path, help="folder made by python -m finetune, for example artifacts/embedded")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=["fp32", "int8", "fp16"],
        default=[],
        help="bundles to make; without it the recipe's export.precision",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="where they run; else the recipe's export.device")
    parser.add_argument(
        "--allow-cpu-fallback", action="store_true", help="with --device cuda: nodes, or all, may run on the CPU"
    )
    parser.add_argument("--base", action="store_true", help="also an int8 bundle of the base before fine-tuning")
    parser.add_argument(
        "--layout",
        choices=["precis", "optimum"],
        default="precis",
        help="optimum: instead of bundles a folder that ORTModelForSeq2SeqLM.from_pretrained loads, fp32",
    )
    parser.add_argument("--accept-worse", action="store_true", help="export a model that fine-tuning has made worse")
    options = parser.parse_args(arguments)
    if not options.run.is_dir():
        raise UserError(f"There is no run folder {options.run}.")
    from export.pipeline import Options, make_bundles

    chosen = Options(
        options.precision,
        options.device,
        options.base,
        options.allow_cpu_fallback,
        options.accept_worse,
        options.layout == "optimum",
    )
    with _disk_told(options.run):
        for bundle in make_bundles(options.run, chosen):
            print(bundle)


def _import(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export import",
        description="Make a run and its bundles of what optimum-cli export onnx wrote, and prove them equal to it.",
    )
    parser.add_argument("folder", type=Path, help="with encoder_model.onnx, a decoder, config.json and a tokenizer")
    parser.add_argument("recipe", type=Path, help="says prefix, data, generation and tolerances; its model is FOLDER")
    parser.add_argument("override", nargs="*", help="keys of the recipe, as in output=artifacts/mine")
    options = parser.parse_args(arguments)
    from finetune.recipe_io import read_recipe

    recipe = read_recipe(options.recipe, options.override)
    from export.importing import import_run
    from export.pipeline import Options, make_bundles

    with _disk_told(Path(recipe.output)):
        for bundle in make_bundles(import_run(options.folder, recipe), Options()):
            print(bundle)


@contextmanager
def _disk_told(run: Path) -> Iterator[None]:
    """A full disk, mostly, in a sentence. What was begun lies beside its place and is gone by now."""
    from finetune.training.failures import disk_full_as_user_error

    try:
        with disk_full_as_user_error(run):  # of libraries that have their own words for it
            yield
    except OSError as error:
        reason, place = error.strerror or str(error), error.filename or run
        raise UserError(f"No bundle was written: {reason} ({place}).") from error


def _verify(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m export verify", description="Check a bundle's files and origin.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--public-key", type=Path, help="PEM file; without it the one PRECIS_PUBLIC_KEY names, if any")
    options = parser.parse_args(arguments)
    from export.verify import verify

    print("\n".join(verify(options.bundle, options.public_key)))


def _sign(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m export sign", description="Sign a bundle's manifest (Ed25519).")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="private key in PEM, unencrypted")
    options = parser.parse_args(arguments)
    from export.verify import sign

    print(sign(options.bundle, options.key))


COMMANDS: dict[str, Callable[[list[str]], None]] = {"import": _import, "verify": _verify, "sign": _sign}


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        command(arguments[1:]) if command else _make(arguments)
    except (UserError, EngineError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
