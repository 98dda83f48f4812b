"""What a training can die of, told in one sentence each: memory, disk, and a loss that is no number."""

import errno
import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from finetune.errors import UserError

DISK_SIGNS = ("No space left", "PytorchStreamWriter failed", "unexpected pos")  # of Rust, and twice of torch.save


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device's or the machine's memory is what failed."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("can't allocate memory", "CUDA out of memory", "not enough memory")
    )


def largest_that_fits(size: int, attempt: Callable[[int], None]) -> int:
    """The first of size/2, size/4, ... for which `attempt` does not run out of memory; 0 where none is."""
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
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turns a disk that fills up while `folder` is written into a UserError."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and not any(sign in str(error) for sign in DISK_SIGNS):
            raise
        raise UserError(_disk_sentence(folder)) from error


def _disk_sentence(folder: Path) -> str:
    place = next(parent for parent in (folder, *folder.resolve().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free / 2**20
    return f"output: the disk that holds {folder} is full ({free:,.0f} MiB free); make room and run the same command."
