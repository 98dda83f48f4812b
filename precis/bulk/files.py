"""Files, folders and globs, plain or compressed, here or where fsspec reaches (s3:// and the like)."""

import bz2
import glob
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from precis.bulk.errors import BulkError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
# What a file that was cut or altered makes the readers raise; pyarrow's errors are OSError or ValueError.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


def kind_of(path: str) -> tuple[str, str]:
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


@dataclass(frozen=True)
class Source:
    """An input file; `stamp` changes when it does."""

    name: str
    size: int
    stamp: str

    def open(self) -> IO[bytes]:
        """Raises BulkError with the system's reason."""
        try:
            return fsspec().open(self.name, "rb").open() if "://" in self.name else Path(self.name).open("rb")
        except OSError as error:
            raise BulkError(f"{self.name} cannot be read: {error.strerror or error}.") from error


def find(names: list[str]) -> list[Source]:
    """The files that `names` (files, folders or globs) stand for, a folder's in the order of their names.

    Hidden files and those that begin with _ are left out of folders. Raises BulkError where a name stands for nothing.
    """
    found: list[Source] = []
    for name in names:
        if "://" in name:
            more = _find_far(name)
        elif Path(name).is_dir():
            more = sorted(str(path) for path in Path(name).rglob("*") if path.is_file() and _is_data(path, Path(name)))
        else:
            more = [name] if Path(name).is_file() else sorted(glob.glob(name, recursive=True))
        if not more:
            raise BulkError(
                f"There is no file {name}, nor a folder with files that end in one of {', '.join(FORMATS)}."
            )
        found += [source if isinstance(source, Source) else _near(source) for source in more]
    return found


def _near(name: str) -> Source:
    status = os.stat(name)
    return Source(name, status.st_size, str(status.st_mtime_ns))


def _find_far(name: str) -> list[Source]:
    try:
        system, path = fsspec().core.url_to_fs(name)
        if system.isdir(path):
            paths = [found for found in sorted(system.find(path)) if _is_data(Path(found), Path(path))]
        else:
            paths = sorted(system.glob(path))
        infos = [system.info(found) for found in paths]
    except (OSError, ImportError, ValueError) as error:
        raise BulkError(f"{name} cannot be reached: {str(error).splitlines()[0]}") from error
    return [
        Source(system.unstrip_protocol(found), info["size"], str(info.get("ETag", info.get("mtime", ""))))
        for found, info in zip(paths, infos, strict=True)
    ]


def _is_data(path: Path, folder: Path) -> bool:
    if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
        return False
    suffixes = [suffix for suffix in path.suffixes if suffix not in COMPRESSIONS]
    return bool(suffixes) and suffixes[-1] in FORMATS


def exists(name: str) -> bool:
    return fsspec().core.url_to_fs(name)[0].exists(name) if "://" in name else Path(name).exists()


def move(path: Path, name: str) -> None:
    """Moves a finished file to where it belongs; elsewhere it appears as a whole or not at all, as object stores do."""
    if "://" in name:
        system, place = fsspec().core.url_to_fs(name)
        system.makedirs(place.rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), place)
        path.unlink()
    else:
        path.replace(name)


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


def fsspec() -> Any:
    """fsspec. Raises BulkError where it is not installed."""
    try:
        import fsspec
    except ImportError as error:
        raise BulkError("Addresses with :// need fsspec: install the extra `bulk`.") from error
    return fsspec


def arrow() -> Any:
    """pyarrow. Raises BulkError where it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise BulkError("Parquet and .zst files need pyarrow: install the extra `bulk`.") from error
    return pyarrow
