"""The command line of the export: python -m export RUN, and sign for finished bundles."""

import argparse
import sys
from pathlib import Path

from export.options import PRECISIONS, Options
from finetune.errors import UserError
from precis.errors import EngineError

EXAMPLES = """examples:
  python -m export artifacts/embedded                            bundles in the precisions of the recipe
  python -m export artifacts/embedded --precision fp32 int8      an fp32 and an int8 bundle
  python -m export artifacts/xsum --precision fp16 --device cuda a bundle for a GPU
  python -m export sign artifacts/embedded/bundle --key key.pem  sign a bundle's manifest
"""


def _export(arguments: list[str]) -> None:
    run, options = _parse_export(arguments)
    if not run.is_dir():
        raise UserError(f"There is no run folder {run}.")
    from export.pipeline import make_bundles  # loads torch, which takes seconds
    from finetune.files import locked
    from finetune.training.failures import disk_errors_as_user_errors

    busy = f"Another export of {run} is running; wait for it."
    with disk_errors_as_user_errors(run), locked(run / ".export.lock", busy):
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
    parser.add_argument("--accept-worse", action="store_true", help="export a model that fine-tuning has made worse")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="JSONL",
        help="summaries that people judged, which calibrate trust in place of the automatic check. Each row has "
        "document, summary and label, 1 for right and 0 for wrong; docs/trust.md has an example",
    )
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
        labels=options.labels,
    )


def _sign(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export sign",
        description="Sign a bundle's manifest (Ed25519); precis verify checks it.",
        epilog="example: python -m export sign artifacts/embedded/bundle --key key.pem",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="private key in PEM, unencrypted")
    options = parser.parse_args(arguments)
    from export.sign import sign

    print(sign(options.bundle, options.key))


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 after one sentence on standard error, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if arguments[:1] == ["sign"]:
            _sign(arguments[1:])
        else:
            _export(arguments)
    except (UserError, EngineError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; earlier bundles are kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
