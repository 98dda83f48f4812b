"""Turns running out of memory or disk space, and folders that cannot be written, into one sentence for the user."""

import errno
import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from datasets.config import HF_DATASETS_CACHE
from safetensors import SafetensorError

from finetune.errors import UserError

OUT_OF_MEMORY_MESSAGES = ("can't allocate memory", "CUDA out of memory", "not enough memory")
DISK_FULL_MESSAGES = ("No space left", "PytorchStreamWriter failed", "unexpected pos")  # safetensors, torch.save twice


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device or the machine ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)


def largest_batch_that_fits(size: int, attempt: Callable[[int], None]) -> int:
    """The first of size/2, size/4, ... for which `attempt` does not run out of memory; 0 if none fits."""
    while size := size // 2:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
    return 0


@contextmanager
def disk_errors_as_user_errors(folder: Path) -> Iterator[None]:
    """Raises UserError if the block cannot write to `folder`, to the cache or to the folder of temporary files."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(message in str(error) for message in DISK_FULL_MESSAGES):
            free, place = min(
                (_free_mib(path), path) for path in (folder, Path(HF_DATASETS_CACHE), Path(tempfile.gettempdir()))
            )
            raise UserError(
                f"output: the disk that holds {place} is full ({free:,.0f} MiB free); make room and run the same "
                "command."
            ) from error
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{error.filename or folder}: {error.strerror}.") from error
        raise


def check_writable(output: Path) -> None:
    """Raises UserError if a folder `output` cannot be made or replaced. Leaves nothing behind."""
    parent = next(parent for parent in output.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryDirectory(dir=parent).cleanup()
    except OSError as error:
        raise UserError(f"output: {output} cannot be written: {parent}: {error.strerror}.") from error


def _free_mib(path: Path) -> float:
    parent = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(parent).free / 2**20
