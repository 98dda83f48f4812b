"""precis summarize BUNDLE [FILE]: prints the summary of a text file or of standard input."""

import argparse
import contextlib
import sys
from pathlib import Path

from precis import Engine, EngineError, GenerationParams


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="precis summarize", description="Print the summary of a text.")
    parser.add_argument("bundle", help="folder made by python -m export")
    parser.add_argument("file", nargs="?", help="text file in UTF-8; standard input if left out or -")
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--num-beams", type=int)
    options = parser.parse_args(argv)
    try:
        if options.file in (None, "-"):
            text = sys.stdin.buffer.read().decode("utf-8")
        else:
            text = Path(options.file).read_text(encoding="utf-8")
        generation = GenerationParams(max_new_tokens=options.max_new_tokens, num_beams=options.num_beams)
        with contextlib.closing(Engine.load(options.bundle)) as engine:
            summary = engine.generate([text], generation)[0]
    except OSError as error:
        print(f"{options.file} cannot be read: {error.strerror}.", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print(f"{options.file or 'standard input'} is not UTF-8 text.", file=sys.stderr)
        return 1
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(summary.text)
    if summary.chunks > 1:
        print(f"(summarized in {summary.chunks} pieces: the text is longer than the model reads)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
