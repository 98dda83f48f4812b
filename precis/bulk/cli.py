"""precis bulk IN... OUT --bundle BUNDLE: the rows of files with their summaries.

Exit codes: 0 done (rejected rows are in OUT.rejects.jsonl), 1 stopped with a reason, 2 wrong usage, 130 interrupted.
After 1 and 130, and after a kill, the same command goes on where it stopped.
"""

import argparse
import functools
import hashlib
from dataclasses import astuple
from pathlib import Path
from typing import Any

from rich.console import Console

from precis import EngineError, GenerationParams
from precis.bulk.errors import BulkError
from precis.bulk.files import compressor, find, kind_of
from precis.bulk.journal import Journal
from precis.bulk.progress import Watch
from precis.bulk.rows import Columns, format_of
from precis.bulk.run import BulkJob, parts
from precis.bundle.names import MANIFEST


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="precis bulk",
        description="Writes the rows of JSONL, CSV or Parquet files with a summary of each. Bad rows go to "
        "OUT.rejects.jsonl. A run that was stopped goes on with the same command.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="files, folders or globs of one format; .gz and the like"
    )
    parser.add_argument("out", metavar="OUT", help="file of the same format")
    parser.add_argument("--bundle", required=True, help="folder made by python -m export")
    parser.add_argument("--column", default="document", help="the texts' column (default: document)")
    parser.add_argument("--summary-column", default="summary", help="the summaries' column (default: summary)")
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--num-beams", type=int)
    parser.add_argument("--long-text", choices=("split", "truncate", "refuse"), default="split")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="of an engine (default: one a core; on a cluster 1)")
    parser.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, or local: one of its own on this machine")
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        generation = GenerationParams(
            max_new_tokens=options.max_new_tokens, num_beams=options.num_beams, long_text=options.long_text
        )
        _run(options, generation, console)
    except EngineError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 1
    except OSError as error:
        console.print(f"{error.filename or options.out}: {error.strerror}.", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where it stopped.")
        return 130
    return 0


def _run(options: argparse.Namespace, generation: GenerationParams, console: Console) -> None:
    sources = find(options.inputs)
    kind, compression = kind_of(options.out)
    for source in sources:
        if kind_of(source.name)[0] != kind:
            raise BulkError(f"{source.name} and {options.out} should be of one format.")
    form = format_of(kind, Columns(options.column, options.summary_column))
    form.check(sources)
    job = BulkJob(sources, form, compression, options.bundle, options.device, options.threads, generation)
    journal = Journal(options.out, _identity(job), compressor(compression)(form.header()))
    mark = journal.mark
    if not mark.finished:
        if mark.done:
            console.print(f"Going on after {mark.done:,} rows.", highlight=False)
        if options.ray:
            from precis.bulk import ray_cluster

            work = functools.partial(ray_cluster.parts, address=options.ray)
        else:
            work = parts
        with Watch(sum(source.size for source in sources), mark, console) as watch:
            for part in work(job, mark, watch.done):
                journal.add(part)
    journal.finish(form.finish)
    told = f"{journal.mark.written:,} rows in {options.out}"
    if journal.mark.rejected:
        told += f", {journal.mark.rejected:,} rejected in {journal.rejects}"
    print(f"{told}.")


def _identity(job: BulkJob) -> dict[str, Any]:
    """What a run has to have in common with the one it goes on from."""
    try:
        manifest = (Path(job.bundle) / MANIFEST).read_bytes()
    except OSError as error:
        raise BulkError(f"There is no bundle in {job.bundle}.") from error
    return {
        "input": [list(astuple(source)) for source in job.sources],
        "bundle": hashlib.sha256(manifest).hexdigest(),
        "column": list(astuple(job.form.columns)),
        "generation setting": job.generation.model_dump(),
    }


if __name__ == "__main__":
    raise SystemExit(main())
