"""The command `precis`: summarize one text, work through files, or verify a bundle."""

import argparse
import contextlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from precis.errors import BundleError, EngineError, TextError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from precis.params import GenerationParams

# What each sub-command does, in its own help and in `precis --help`.
DESCRIPTIONS = {
    "summarize": "Print the summary of a text file or of standard input.",
    "bulk": "Write the rows of JSONL, CSV or Parquet files with a summary of each.\n"
    "Bad rows go to OUT.rejects.jsonl. A run that was stopped continues with the same command.",
    "verify": "Check that a bundle's files are those of its manifest, and print where it comes from.",
}
EXAMPLES = {
    "summarize": """
  precis summarize artifacts/embedded article.txt
  precis summarize artifacts/embedded/bundle --num-beams 4 --max-new-tokens 60 article.txt
  precis summarize artifacts/embedded --mode extract --sentences 3 article.txt
  cat article.txt | precis summarize artifacts/embedded
""",
    "bulk": """
  precis bulk articles.csv summaries.csv --bundle artifacts/embedded --column article
  precis bulk 'part-*.jsonl.gz' out.jsonl.zst --bundle artifacts/embedded/bundle-int8
  precis bulk s3://bucket/in s3://bucket/out.parquet --bundle /models/bundle --ray auto
""",
    "verify": """
  precis verify artifacts/embedded/bundle-int8
  precis verify artifacts/embedded --key key.pub
""",
}
NUMERIC_PARAMETERS = (
    "sentences", "max_new_tokens", "min_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size",
    "repetition_penalty",
)  # fmt: skip
EXTRAS = {"onnxruntime": "cpu", "ray": "ray"}  # which extra of the package brings a module; else it is `bulk`
BUNDLE_HELP = "a bundle, or a run's folder such as artifacts/embedded"


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a terminal's encoding may lack a character
    commands = {"summarize": _summarize, "bulk": _bulk, "verify": _verify}
    parser = argparse.ArgumentParser(
        prog="precis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "".join(f"  {name:<10} {text.splitlines()[0]}\n" for name, text in DESCRIPTIONS.items())
        + f"\nexamples:{EXAMPLES['summarize']}{EXAMPLES['bulk']}\nprecis COMMAND --help lists a command's options.",
    )
    parser.add_argument("command", choices=commands, metavar="COMMAND", help=", ".join(commands))
    command = parser.parse_args(arguments[:1]).command
    try:
        commands[command](arguments[1:])
        return 0
    except EngineError as error:
        message, status = str(error), 1
    except OSError as error:
        message, status = f"{error.filename or command}: {error.strerror or error}.", 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "", "bulk")
        message, status = f"The package {error.name} is not installed: install the extra `{extra}`.", 1
    except KeyboardInterrupt:
        again = " The same command continues where it stopped." if command == "bulk" else ""
        message, status = f"Interrupted.{again}", 130
    print(message, file=sys.stderr)
    return status


def _summarize(arguments: list[str]) -> None:
    parser = _parser("summarize")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="UTF-8 text (default or -: standard input)"
    )
    _add_generation_options(parser)
    options = parser.parse_intermixed_args(arguments)
    text = _read_text(options.file)
    from precis import Engine

    bundle = _choose_bundle(options.bundle, options.device)
    with contextlib.closing(Engine.load(bundle, device=options.device, threads=options.threads)) as engine:
        summary = engine.generate([text], _generation_params(options))[0]
    print(summary.text)
    if summary.already_short:
        print("(the text is short already)", file=sys.stderr)
    elif summary.unsupported_language:
        print("(the model has not learned this language: this is the beginning of the text)", file=sys.stderr)
    elif summary.chunks > 1:
        print(f"(summarized in {summary.chunks} chunks: the text is longer than the model reads)", file=sys.stderr)
    elif summary.truncated_tokens:
        print(f"(the last {summary.truncated_tokens} tokens of the text were not read)", file=sys.stderr)


def _read_text(file: str) -> str:
    if file == "-" and sys.stdin is None:
        raise TextError("Standard input is closed.")
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise TextError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{'Standard input' if file == '-' else file} is not UTF-8 text.") from error


def _bulk(arguments: list[str]) -> None:
    parser = _parser("bulk")
    parser.add_argument("inputs", metavar="IN", nargs="+", help="files, folders or globs of one format")
    parser.add_argument("out", metavar="OUT", help="file of the same format")
    parser.add_argument("--bundle", required=True, type=Path, help=BUNDLE_HELP)
    parser.add_argument("--column", default="document", help="the texts' column (default: document)")
    parser.add_argument("--summary-column", default="summary", help="the summaries' column (default: summary)")
    parser.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster, or local: one on this machine")
    _add_generation_options(parser)
    _add_trust_options(parser)
    options = parser.parse_intermixed_args(arguments)
    from precis.bulk.command import summarize_files
    from precis.bulk.formats import Columns
    from precis.params import TrustParams

    report = summarize_files(
        options.inputs,
        options.out,
        _choose_bundle(options.bundle, options.device),
        columns=Columns(options.column, options.summary_column),
        generation=_generation_params(options),
        trust=TrustParams(evidence=options.evidence, min_trust=options.min_trust, below_trust=options.below_trust),
        device=options.device,
        threads=options.threads,
        ray_address=options.ray,
    )
    print(report)


def _verify(arguments: list[str]) -> None:
    parser = _parser("verify")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("--key", metavar="PEM", type=Path, help="the signer's public key (default: PRECIS_PUBLIC_KEY)")
    options = parser.parse_intermixed_args(arguments)
    from precis.bundle.inspect import inspect_bundle

    print("\n".join(inspect_bundle(_choose_bundle(options.bundle, "cpu"), options.key)))


def _choose_bundle(folder: Path, device: str) -> Path:
    from precis.bundle.choose import choose_bundle

    if not folder.is_dir():
        raise BundleError(f"There is no bundle folder {folder}.")
    return choose_bundle(folder, device)


def _parser(command: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"precis {command}",
        description=DESCRIPTIONS[command],
        epilog=f"examples:{EXAMPLES[command]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_generation_options(parser: argparse.ArgumentParser) -> None:
    """Options for the device and the generation parameters, whose help and bounds are those of their definition."""
    from precis.params import RequestFields, bounds

    parser.add_argument(
        "--mode",
        choices=("extract", "write"),
        help=f"{_help(RequestFields.model_fields['mode'])} Default: the bundle's.",
    )
    parser.add_argument(
        "--rerank",
        choices=("none", "grounding"),
        help=f"{_help(RequestFields.model_fields['rerank'])} Default: the bundle's.",
    )
    for name in NUMERIC_PARAMETERS:
        field = RequestFields.model_fields[name]
        low, high = bounds(name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=float if field.annotation == float | None else int,
            metavar="N",
            help=f"{field.description} From {low:g} to {high:g}; default: the bundle's.",
        )
    parser.add_argument(
        "--long-text",
        choices=("split", "truncate", "refuse"),
        default="split",
        help=_help(RequestFields.model_fields["long_text"]),
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="of the engine (default: one per core; with --ray 1)")


def _help(field: "FieldInfo") -> str:
    return str(field.description).replace("`", "")


def _add_trust_options(parser: argparse.ArgumentParser) -> None:
    from precis.params import TrustFields

    fields = TrustFields.model_fields
    parser.add_argument(
        "--evidence", action="store_true", help="add columns that say what of a summary is copied, joined and new"
    )
    parser.add_argument(
        "--min-trust", type=float, metavar="N", help=f"{_help(fields['min_trust'])} From 0 to 1; default: none."
    )
    parser.add_argument(
        "--below-trust",
        choices=("extract", "refuse"),
        default="extract",
        help=f"{_help(fields['below_trust'])} A row that is refused is a rejected one.",
    )


def _generation_params(options: argparse.Namespace) -> "GenerationParams":
    from precis.params import GenerationParams

    values = {name: getattr(options, name) for name in NUMERIC_PARAMETERS}
    return GenerationParams(**values, mode=options.mode, rerank=options.rerank, long_text=options.long_text)
