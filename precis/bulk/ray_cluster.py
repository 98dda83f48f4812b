"""The same work on a Ray cluster: Ray Data reads, spreads and repeats; this machine writes, in order.

Tasks read windows from the files, a pool of actors with an engine each summarizes them, and what they give back comes
here in the order of the input. A window whose worker is lost is done again elsewhere. Inputs and the bundle have to be
where every node finds them under the same name.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import precis
from precis.bulk.errors import BulkError
from precis.bulk.files import arrow
from precis.bulk.run import BulkJob, Feeder, Mark, Part, file_windows

OBJECT_STORE = 512 << 20  # bytes on a cluster of our own; a window is about a megabyte
LISTENS = 10.0  # seconds within which an address has to take a connection
STARTS = 2  # Ray gives its agents 15 s to import, which a cold disk can take; they are warm then (its issue 65983)
TOGETHER = 2  # windows an actor works on, so that its batch stays full when one of them ends


class Summarizer:
    """An actor: one engine, and the windows that are sent to it."""

    def __init__(self, job: BulkJob) -> None:
        self._job, self._engine = job, job.load()

    def __call__(self, batch):
        for pickled in batch["window"].to_pylist():
            (window,) = Feeder(self._engine, self._job.generation).run([pickle.loads(pickled)])
            yield arrow().Table.from_pylist([asdict(self._job.part(window))])


def parts(job: BulkJob, mark: Mark, done: Callable[[int, float], None], address: str) -> Iterator[Part]:
    """As run.parts, on the cluster at `address`, or "local". Raises BulkError where there is none."""
    ray = _connected(address)
    job = replace(job, threads=job.threads or 1)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # or a damaged file would be no more than "UDF failed"
    context.target_max_block_size = 1  # every window is a block of its own, for an actor of its own

    def read(batch):
        for file in batch["file"].to_pylist():
            for window in file_windows(job.sources, job.form, file, mark):
                yield arrow().table({"window": [pickle.dumps(window)]})

    files = [{"file": file} for file in range(mark.file, len(job.sources))]
    gpu = job.device != "cpu"
    resources = ray.cluster_resources()
    actors = int(resources.get("GPU", 0) if gpu else resources.get("CPU", 0) // job.threads)
    if not actors:
        raise BulkError(f"The cluster has no {'GPU' if gpu else f'{job.threads} cores'} to work with.")
    made = (
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
                max_concurrent_calls_per_actor=TOGETHER,
                enable_true_multi_threading=True,
            ),
            num_cpus=0 if gpu else job.threads,
            num_gpus=1 if gpu else None,
        )
    )
    read_before = mark.read
    try:
        for row in made.iter_rows():
            part = Part(**row)
            done(part.written + part.rejected, part.read - read_before)
            read_before = part.read
            yield part
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        raise BulkError(f"The cluster gave up: {(str(cause).strip() or repr(cause)).splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def _connected(address: str):
    """Ray, connected. Raises BulkError with Ray's reason."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BulkError("--ray needs Ray: install the extra `ray`.") from error
    _listened(address)
    here = Path(precis.__file__).parent
    own = {"object_store_memory": OBJECT_STORE, "include_dashboard": False} if address == "local" else {}
    for left in reversed(range(STARTS if address == "local" else 1)):
        try:
            ray.init(
                address,
                runtime_env={"py_modules": [str(here)]},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **own,
            )
            break
        except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError, and bare ones
            ray.shutdown()
            if not left:
                raise BulkError(_refused(address, error)) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _listened(address: str) -> None:
    """Raises BulkError where nobody listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "local", "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTENS).close()
    except OSError as error:
        raise BulkError(f"No Ray cluster answers at {address}: {error.strerror or error}.") from error


def _refused(address: str, error: Exception) -> str:
    reason = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")
    if address == "local":
        return f"A Ray cluster of our own does not start: {reason}."
    # ray start asks for tokens where it finds one, and a driver sends none to an address unless told.
    return f"No Ray cluster answers at {address}: {reason}. (One that asks for a token wants RAY_AUTH_MODE=token.)"
