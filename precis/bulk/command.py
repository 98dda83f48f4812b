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
from precis.bulk.files import compress, file_type, output_name
from precis.bulk.formats import Columns, make_format
from precis.bulk.job import BulkJob
from precis.bulk.journal import Journal
from precis.bulk.progress import ProgressReporter
from precis.bulk.sources import find_inputs
from precis.bundle.names import MANIFEST
from precis.bundle.verify import open_bundle
from precis.grounding.certificate import check_min_trust
from precis.params import TrustParams
from precis.runtime.threads import check_threads


def summarize_files(
    inputs: list[str],
    out: str,
    bundle: Path,
    *,
    columns: Columns,
    generation: GenerationParams,
    trust: TrustParams,
    device: str = "cpu",
    threads: int | None = None,
    ray_address: str | None = None,
) -> str:
    """Writes the rows of `inputs` with their summaries to `out`, and returns a sentence with the counts.

    Rejected rows go to `out`.rejects.jsonl. Progress, and the names of files that are not read, go to the error
    output. Raises EngineError and OSError.
    """
    check_threads(threads)
    output_type, (sources, not_read) = file_type(out), find_inputs(inputs)
    for source in sources:
        if file_type(source.name).format != output_type.format:
            raise BulkError(f"{source.name} and {out} should be of one format.")
    if trust.min_trust is not None:
        check_min_trust(open_bundle(bundle), generation)
    falls_back = trust.min_trust is not None and trust.below_trust == "extract"
    columns = replace(
        columns,
        extracts=falls_back or _mode(bundle, generation) == "extract",
        grounding=trust.evidence,
        min_trust=trust.min_trust is not None,
    )
    out = output_name(out)
    if out in (source.name for source in sources):
        raise BulkError(f"{out} is an input, and would be overwritten; choose another name for the output.")
    row_format = make_format(output_type.format, columns)
    row_format.check(sources)
    job = BulkJob(sources, row_format, output_type.compression, str(bundle), device, threads, generation, trust)
    journal = Journal(out, _identity(job), compress(row_format.header(), job.compression))
    start, console = journal.checkpoint, Console(stderr=True)
    if not_read := [name for name in not_read if not name.startswith(f"{journal.folder}/")]:
        console.out(f"Not read ({len(not_read):,}): {', '.join(map(printable, not_read))}", highlight=False)
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
        if journal.checkpoint.next_file < len(sources):
            raise BulkError(f"The run ended before all rows of {len(sources):,} inputs; the same command continues it.")
    journal.finish(row_format.finish)
    done = journal.checkpoint
    rejected = f", {done.rejected:,} rejected, in {journal.rejects}" if done.rejected else ""
    return printable(f"Rows: {done.done:,} read, {done.written:,} written to {out}{rejected}.")


def printable(text: str) -> str:
    """`text` with what is not Unicode, such as bytes in a file's name, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


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
    identity = {
        "input": [astuple(source) for source in job.sources],
        "bundle": hashlib.sha256(manifest).hexdigest(),
        "column": astuple(job.row_format.columns),
        "generation parameter": job.generation.model_dump(),
        "trust parameter": job.trust.model_dump(),
    }
    return json.loads(json.dumps(identity))  # as the journal returns it
