"""A bulk run on a Ray cluster: Ray Data reads, distributes and retries; this machine writes, in order.

Tasks read windows from the files, a pool of actors with an engine each summarizes them, and the parts arrive here in
the order of the input. A window whose worker is lost is done again elsewhere. Inputs and the bundle have to be where
every node finds them under the same name.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow

import precis
from precis.bulk.errors import BulkError
from precis.bulk.feeder import Feeder
from precis.bulk.job import BulkJob, Checkpoint, Part

OBJECT_STORE_BYTES = 512 << 20  # of a local cluster; a window is about a megabyte
CONNECT_SECONDS = 10.0
LOCAL_STARTS = (
    2  # Ray gives its agents 15 s to import, too little from a cold disk; the second start is warm (its issue 65983)
)
WINDOWS_PER_ACTOR = 2  # at once, so that the engine's batch stays full when one of them ends


class Summarizer:
    """An actor: one engine, and the windows that Ray sends to it as Arrow tables of pickled `window`s."""

    def __init__(self, job: BulkJob) -> None:
        self._job, self._engine = job, job.load_engine()

    def __call__(self, batch: Any) -> Iterator[Any]:
        for pickled in batch["window"].to_pylist():
            (window,) = Feeder(self._engine, self._job.generation, self._job.trust).run([pickle.loads(pickled)])
            yield pyarrow.Table.from_pylist([asdict(self._job.part(window))])


def process(job: BulkJob, start: Checkpoint, report: Callable[[int, float], None], address: str) -> Iterator[Part]:
    """As feeder.process, on the cluster at `address`, or on a "local" one. Raises BulkError if there is none."""
    ray = connect(address)
    job = replace(job, threads=job.threads or 1)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # or a damaged file would be reported as "UDF failed"
    context.target_max_block_size = 1  # every window is a block, for an actor of its own

    def read(batch: Any) -> Iterator[Any]:
        for file in batch["file"].to_pylist():
            for window in job.file_windows(file, start):
                yield pyarrow.table({"window": [pickle.dumps(window)]})

    files = [{"file": file} for file in range(start.next_file, len(job.sources))]
    gpu = job.device != "cpu"
    resources = ray.cluster_resources()
    actors = int(resources.get("GPU", 0) if gpu else resources.get("CPU", 0) // job.threads)
    if not actors:
        raise BulkError(f"The cluster has no {'GPU' if gpu else f'{job.threads} cores'} to work with.")
    parts = (
        ray.data.from_items(files, override_num_blocks=len(files))
        .map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=0)
        .map_batches(
            Summarizer,
            fn_constructor_args=[job],
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                initial_size=actors,
                max_size=None,
                max_concurrent_calls_per_actor=WINDOWS_PER_ACTOR,
                enable_true_multi_threading=True,
            ),
            num_cpus=0 if gpu else job.threads,
            num_gpus=1 if gpu else None,
        )
    )
    bytes_read = start.bytes_read
    try:
        for row in parts.iter_rows():
            part = Part(**row)
            report(part.written + part.rejected, part.bytes_read - bytes_read)
            bytes_read = part.bytes_read
            yield part
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        raise BulkError(f"The cluster gave up: {(str(cause).strip() or repr(cause)).splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def connect(address: str) -> Any:
    """The module ray, connected to `address`. Raises BulkError with Ray's reason."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data

    local = address == "local"
    _check_listener(address)
    options = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False} if local else {}
    package = str(Path(precis.__file__).parent)
    for starts_left in reversed(range(LOCAL_STARTS if local else 1)):
        try:
            ray.init(
                address,
                runtime_env={"py_modules": [package]},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
            break
        except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError, and bare ones
            ray.shutdown()
            if not starts_left:
                raise BulkError(_connection_error(address, error)) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _check_listener(address: str) -> None:
    """Raises BulkError if nothing listens at HOST:PORT, where Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "local", "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise BulkError(f"No Ray cluster answers at {address}: {error.strerror or error}.") from error


def _connection_error(address: str, error: Exception) -> str:
    reason = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")
    if address == "local":
        return f"The local Ray cluster does not start: {reason}."
    # ray start asks for tokens where it finds one, and a driver sends none to an address unless configured to.
    return f"No Ray cluster answers at {address}: {reason}. (One that asks for a token needs RAY_AUTH_MODE=token.)"
