"""Runs `precis bulk`: opens the files and the journal, processes the rows, and writes the output.

After an error, Ctrl-C or a kill, the same call continues where the last one stopped.
"""

import functools
import hashlib
import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from precis import GenerationParams
from precis.bulk.errors import BulkError
from precis.bulk.feeder import process
from precis.bulk.files import compress, file_type, find_sources
from precis.bulk.formats import Columns, make_format
from precis.bulk.job import BulkJob
from precis.bulk.journal import Journal
from precis.bulk.progress import ProgressReporter
from precis.bundle.names import MANIFEST


def summarize_files(
    inputs: list[str],
    out: str,
    bundle: Path,
    *,
    columns: Columns,
    generation: GenerationParams,
    device: str = "cpu",
    threads: int | None = None,
    ray_address: str | None = None,
) -> str:
    """Writes the rows of `inputs` with their summaries to `out`, and returns a sentence with the counts.

    Rejected rows go to `out`.rejects.jsonl. Progress goes to the error output. Raises EngineError and OSError.
    """
    sources, output_type = find_sources(inputs), file_type(out)
    for source in sources:
        if file_type(source.name).format != output_type.format:
            raise BulkError(f"{source.name} and {out} should be of one format.")
    columns = replace(columns, extracts=_mode(bundle, generation) == "extract")
    row_format = make_format(output_type.format, columns)
    row_format.check(sources)
    job = BulkJob(sources, row_format, output_type.compression, str(bundle), device, threads, generation)
    journal = Journal(out, _identity(job), compress(row_format.header(), job.compression))
    start, console = journal.checkpoint, Console(stderr=True)
    if not start.finished:
        if start.done:
            console.print(f"Continuing after {start.done:,} rows.", highlight=False)
        process_job = process
        if ray_address:
            from precis.bulk import ray_cluster

            process_job = functools.partial(ray_cluster.process, address=ray_address)
        with ProgressReporter(sum(source.size for source in sources), start, console) as progress:
            for part in process_job(job, start, progress.report):
                journal.add(part)
    journal.finish(row_format.finish)
    done = journal.checkpoint
    rejected = f", {done.rejected:,} rejected in {journal.rejects}" if done.rejected else ""
    return f"{done.written:,} rows in {out}{rejected}."


def _mode(bundle: Path, generation: GenerationParams) -> str | None:
    """The mode of the run: the caller's or the bundle's. None if the bundle is damaged, which loading it will tell."""
    if generation.mode is not None:
        return generation.mode
    try:
        mode: str | None = json.loads((bundle / "generation_config.json").read_bytes()).get("mode")
    except (OSError, ValueError, AttributeError):
        return None
    return mode


def _identity(job: BulkJob) -> dict[str, Any]:
    """What a run must have in common with the one that it continues."""
    try:
        manifest = (Path(job.bundle) / MANIFEST).read_bytes()
    except OSError as error:
        raise BulkError(f"There is no bundle in {job.bundle}.") from error
    return {
        "input": [list(astuple(source)) for source in job.sources],
        "bundle": hashlib.sha256(manifest).hexdigest(),
        "column": list(astuple(job.row_format.columns)),
        "generation parameter": job.generation.model_dump(),
    }
