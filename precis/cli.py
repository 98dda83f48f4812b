"""The command `precis`: summarize one text, work through files, or verify a bundle."""

import argparse
import contextlib
import sys
from pathlib import Path

from precis.errors import EngineError


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(prog="precis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    summarize = commands.add_parser("summarize", help="print the summary of a text file or of standard input")
    summarize.add_argument("bundle", help="folder made by python -m export")
    summarize.add_argument("file", nargs="?", help="text file in UTF-8; standard input if left out or -")
    summarize.add_argument("--max-new-tokens", type=int)
    summarize.add_argument("--num-beams", type=int)
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["bulk"]:
        from precis.bulk.cli import main as bulk

        return bulk(argv[1:])
    options = parser.parse_args(argv)
    try:
        return _summarize(options)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _summarize(options: argparse.Namespace) -> int:
    from precis import Engine, GenerationParams

    try:
        if options.file in (None, "-"):
            text = sys.stdin.buffer.read().decode("utf-8")
        else:
            text = Path(options.file).read_text(encoding="utf-8")
    except OSError as error:
        print(f"{options.file} cannot be read: {error.strerror}.", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print(f"{options.file or 'standard input'} is not UTF-8 text.", file=sys.stderr)
        return 1
    params = GenerationParams(max_new_tokens=options.max_new_tokens, num_beams=options.num_beams)
    with contextlib.closing(Engine.load(options.bundle)) as engine:
        summary = engine.generate([text], params)[0]
    print(summary.text)
    if summary.chunks > 1:
        print(f"(summarized in {summary.chunks} chunks: the text is longer than the model reads)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
