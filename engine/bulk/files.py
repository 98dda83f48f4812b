"""Files, folders and globs, plain or compressed."""

import bz2
import glob
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from engine.bulk.errors import BulkError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
# What a file that was cut or altered makes the readers raise; pyarrow's errors are OSError or ValueError.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


def kind_of(path: str | Path) -> tuple[str, str]:
    """Format and compression ("" for none) by the name. Raises BulkError for a name that tells neither."""
    suffixes = Path(path).suffixes
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    kind = FORMATS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        endings = ", ".join(FORMATS)
        raise BulkError(f"{path} should end in one of {endings}, and may then have one of {', '.join(COMPRESSIONS)}.")
    if kind == "parquet" and compression:
        raise BulkError(f"{path}: a Parquet file is compressed inside, not as a whole.")
    return kind, compression


def find(names: list[str]) -> list[Path]:
    """The files that `names` (files, folders or globs) stand for, a folder's in the order of their names.

    Hidden files and those that begin with _ are left out of folders. Raises BulkError where a name stands for nothing.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_data(file.relative_to(path))]
            if not files:
                raise BulkError(f"The folder {name} holds no file that ends in one of {', '.join(FORMATS)}.")
        else:
            files = [path] if path.is_file() else sorted(map(Path, glob.glob(name, recursive=True)))
            if not files:
                raise BulkError(f"There is no file {name}.")
        found += files
    return found


def _is_data(path: Path) -> bool:
    if any(part.startswith((".", "_")) for part in path.parts):
        return False
    suffixes = [suffix for suffix in path.suffixes if suffix not in COMPRESSIONS]
    return bool(suffixes) and suffixes[-1] in FORMATS


def open_raw(path: Path) -> IO[bytes]:
    """Raises BulkError with the system's reason."""
    try:
        return path.open("rb")
    except OSError as error:
        raise BulkError(f"{path} cannot be read: {error.strerror}.") from error


def decompressed(raw: IO[bytes], compression: str) -> IO[bytes]:
    """A buffered stream of what `raw` holds."""
    if compression == ".gz":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if compression == ".bz2":
        return io.BufferedReader(bz2.BZ2File(raw))
    if compression == ".xz":
        return io.BufferedReader(lzma.LZMAFile(raw))
    if compression == ".zst":
        pyarrow = arrow()
        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"))
    return raw


def compressor(compression: str) -> Callable[[bytes], bytes]:
    """Makes a whole member or frame of the bytes given: one after another, they are a valid file."""
    if compression == ".zst":
        codec = arrow().Codec("zstd")
        return lambda data: codec.compress(data, asbytes=True)
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, "": lambda data: data}[compression]


def arrow() -> Any:
    """pyarrow. Raises BulkError where it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise BulkError("Parquet and .zst files need pyarrow: install the extra `bulk`.") from error
    return pyarrow
