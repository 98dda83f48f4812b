"""Turns running out of memory or disk space into one sentence for the user."""

import errno
import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
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
def disk_full_as_user_error(folder: Path) -> Iterator[None]:
    """Raises UserError if the disk fills up while the block writes to `folder`."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and not any(message in str(error) for message in DISK_FULL_MESSAGES):
            raise
        parent = next(parent for parent in (folder, *folder.resolve().parents) if parent.is_dir())
        free = shutil.disk_usage(parent).free / 2**20
        raise UserError(
            f"output: the disk that holds {folder} is full ({free:,.0f} MiB free); make room and run the same command."
        ) from error
