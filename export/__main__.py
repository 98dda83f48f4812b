"""python -m export RUN: the ONNX bundle of a fine-tuned run, with its parity gate."""

import argparse
import sys
from pathlib import Path

from finetune.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description="Export a run to ONNX and prove it equal.")
    parser.add_argument("run", type=Path, help="folder made by python -m finetune, for example artifacts/embedded")
    options = parser.parse_args(argv)
    if not options.run.is_dir():
        print(f"There is no run folder {options.run}.", file=sys.stderr)
        return 1
    try:
        from export.bundle import make_bundle

        print(make_bundle(options.run))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
