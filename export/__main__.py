"""python -m export RUN: the ONNX bundles of a fine-tuned run, each with its chain of proofs."""

import argparse
import sys
from pathlib import Path

from finetune.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description="Export a run to ONNX and prove it equal.")
    parser.add_argument("run", type=Path, help="folder made by python -m finetune, for example artifacts/embedded")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=["fp32", "int8", "fp16"],
        default=[],
        help="bundles to make; without it the recipe's export.precision",
    )
    parser.add_argument("--base", action="store_true", help="also an int8 bundle of the base before fine-tuning")
    parser.add_argument("--accept-worse", action="store_true", help="export a model that fine-tuning has made worse")
    options = parser.parse_args(argv)
    if not options.run.is_dir():
        print(f"There is no run folder {options.run}.", file=sys.stderr)
        return 1
    try:
        from export.bundle import make_bundles

        for bundle in make_bundles(options.run, options.precision, options.base, options.accept_worse):
            print(bundle)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        # A full disk, mostly. What was begun lies beside its place and is gone by now.
        print(f"No bundle was written: {error.strerror or error} ({error.filename or options.run}).", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
