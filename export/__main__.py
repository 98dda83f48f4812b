"""The command line of the export: python -m export RUN, and verify and sign for finished bundles."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from export.options import PRECISIONS, Options
from finetune.errors import UserError
from precis.errors import EngineError

EXAMPLES = """examples:
  python -m export artifacts/embedded                            bundles in the precisions of the recipe
  python -m export artifacts/embedded --precision fp32 int8      an fp32 and an int8 bundle
  python -m export artifacts/xsum --precision fp16 --device cuda a bundle for a GPU
  python -m export artifacts/embedded --layout optimum           a folder for ORTModelForSeq2SeqLM
  python -m export verify artifacts/embedded/bundle              check a bundle's files and signature
  python -m export sign artifacts/embedded/bundle --key key.pem  sign a bundle's manifest
"""


def _export(arguments: list[str]) -> None:
    run, options = _parse_export(arguments)
    if not run.is_dir():
        raise UserError(f"There is no run folder {run}.")
    from export.pipeline import make_bundles  # loads torch, which takes seconds

    with _disk_errors_as_user_errors(run):
        for bundle in make_bundles(run, options):
            print(bundle)


def _parse_export(arguments: list[str]) -> tuple[Path, Options]:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a fine-tuned run to ONNX bundles, and prove them equal to PyTorch.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", help="folder made by python -m finetune, for example artifacts/embedded")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[],
        metavar="{" + ",".join(PRECISIONS) + "}",
        help="bundles to make (default: the recipe's)",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="where they run (default: the recipe's)")
    parser.add_argument(
        "--allow-cpu-fallback", action="store_true", help="with --device cuda: let nodes run on the CPU if they must"
    )
    parser.add_argument("--base", action="store_true", help="also an int8 bundle of the base before fine-tuning")
    parser.add_argument(
        "--layout",
        choices=["precis", "optimum"],
        default="precis",
        help="optimum: an fp32 folder for ORTModelForSeq2SeqLM.from_pretrained instead of bundles",
    )
    parser.add_argument("--accept-worse", action="store_true", help="export a model that fine-tuning has made worse")
    options = parser.parse_intermixed_args(arguments)
    # argparse reads RUN in `--precision fp32 int8 RUN` as one more precision.
    if options.run is None and options.precision and options.precision[-1] not in PRECISIONS:
        options.run = options.precision.pop()
    if options.run is None:
        parser.error("name the folder of a run, for example artifacts/embedded")
    unknown = [name for name in options.precision if name not in PRECISIONS]
    if unknown:
        parser.error(f"argument --precision: {unknown[0]!r} is not one of {', '.join(PRECISIONS)}")
    return Path(options.run), Options(
        precisions=options.precision,
        device=options.device,
        base=options.base,
        allow_cpu_fallback=options.allow_cpu_fallback,
        accept_worse=options.accept_worse,
        optimum=options.layout == "optimum",
    )


@contextmanager
def _disk_errors_as_user_errors(run: Path) -> Iterator[None]:
    """Turns a failed write, mostly on a full disk, into one sentence. Partial folders are already removed then."""
    from finetune.training.failures import disk_full_as_user_error

    try:
        with disk_full_as_user_error(run):  # errors of libraries that do not raise OSError
            yield
    except OSError as error:
        reason, path = error.strerror or str(error), error.filename or run
        raise UserError(f"No bundle was written: {reason} ({path}).") from error


def _verify(arguments: list[str]) -> None:
    options = _bundle_options("verify", "Check a bundle's files, external data and signature.", "public", arguments)
    from export.verify import verify

    print("\n".join(verify(options.bundle, options.key)))


def _sign(arguments: list[str]) -> None:
    options = _bundle_options("sign", "Sign a bundle's manifest (Ed25519).", "private", arguments)
    from export.verify import sign

    print(sign(options.bundle, options.key))


def _bundle_options(command: str, description: str, kind: str, arguments: list[str]) -> argparse.Namespace:
    """The options of a command on a finished bundle: bundle and key, which is optional for public keys."""
    parser = argparse.ArgumentParser(
        prog=f"python -m export {command}",
        description=description,
        epilog=f"example: python -m export {command} artifacts/embedded/bundle --key key.pem",
    )
    parser.add_argument("bundle", type=Path)
    default = " (default: the file that PRECIS_PUBLIC_KEY names, if any)" if kind == "public" else ", unencrypted"
    parser.add_argument("--key", type=Path, required=kind == "private", help=f"{kind} key in PEM{default}")
    return parser.parse_args(arguments)


COMMANDS: dict[str, Callable[[list[str]], None]] = {"verify": _verify, "sign": _sign}


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 after one sentence on standard error."""
    arguments = sys.argv[1:] if argv is None else argv
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        if command:
            command(arguments[1:])
        else:
            _export(arguments)
    except (UserError, EngineError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
