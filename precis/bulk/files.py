"""One input or output file: its type by its name, opening, compression, moving; addresses by way of fsspec."""

import contextlib
import lzma
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import fsspec
from fsspec.compression import compr
from fsspec.core import url_to_fs

from precis.bulk.errors import BulkError, short_reason

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}  # suffix: fsspec's name
# What readers raise for a truncated or altered file; pyarrow's errors are OSError or ValueError.
DAMAGE_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


class FileType(NamedTuple):
    """What a file's name says about it."""

    format: str  # a value of FORMATS
    compression: str | None  # fsspec's name of it


def known_type(name: str) -> FileType | None:
    """The type by the name's suffixes in upper or lower case; None if they are not known."""
    *suffixes, last = ["", *PurePosixPath(name.lower()).suffixes]
    compression = COMPRESSIONS.get(last)
    known = FORMATS.get(suffixes[-1] if compression else last)
    return FileType(known, compression) if known else None


def file_type(name: str) -> FileType:
    """As known_type, but raises BulkError for a name without a usable type."""
    known = known_type(name)
    if known is None:
        raise BulkError(
            f"{name} should end in one of {', '.join(FORMATS)}, and may then have one of {', '.join(COMPRESSIONS)}."
        )
    if known.format == "parquet" and known.compression:
        raise BulkError(f"{name}: a Parquet file is compressed inside, not as a whole.")
    return known


@dataclass(frozen=True)
class Source:
    """An input file of `size` bytes; `stamp` changes when the file does.

    `partitions` are columns that stand in the names of its folders.
    """

    name: str
    size: int
    stamp: str
    partitions: tuple[tuple[str, str | None], ...] = ()

    def open(self) -> IO[bytes]:
        """The file as it is stored. Raises BulkError with the system's reason."""
        try:
            return fsspec.open(self.name, "rb").open() if "://" in self.name else open(self.name, "rb")
        except OSError as error:
            raise BulkError(f"{self.name} cannot be read: {error.strerror or error}.") from error

    def decompressed(self, raw: IO[bytes]) -> IO[bytes]:
        """A stream of what the opened file contains; several compressed members or frames are one stream."""
        compression = file_type(self.name).compression
        if compression == "zstd":  # fsspec's own reader stops after the first frame
            import pyarrow

            return BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"))
        return compr[compression](raw, mode="rb")


@contextlib.contextmanager
def damage_as_error(source: Source) -> Iterator[None]:
    """Turns what a reader raises for a damaged file into BulkError."""
    try:
        yield
    except DAMAGE_ERRORS as error:
        raise BulkError(f"{source.name} is cut short or damaged: {short_reason(error)}.") from error


def file_system(name: str) -> tuple[Any, str]:
    """The fsspec file system of a path or address, and the path in it.

    A path is taken as it is: fsspec would give `::` and `~` in it a meaning. Raises ImportError or ValueError for an
    address of an unknown kind, and ValueError for an empty name, which would stand for the working directory.
    """
    if not name:
        raise ValueError("the name is empty")
    if "://" in name:
        return url_to_fs(name)
    return fsspec.filesystem("file"), os.path.join(os.getcwd(), name)


def is_local(system: Any) -> bool:
    """Whether an fsspec file system is this machine's."""
    return "file" in system.protocol


def full_name(system: Any, path: str) -> str:
    """The one name of a file: for a local one the absolute path, its folders without links and dots; else the address.

    So the same file has the same name from whatever folder and by whatever path it is given.
    """
    if not is_local(system):
        return system.unstrip_protocol(path)
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.join(os.path.realpath(folder), name)


def output_name(name: str) -> str:
    """The one name of a file that need not exist. Raises BulkError for an address of an unknown kind."""
    try:
        return full_name(*file_system(name))
    except (ImportError, ValueError) as error:
        raise BulkError(f"{name} cannot be written: {short_reason(error)}.") from error


def exists(name: str) -> bool:
    """Whether there is a file at the path or address."""
    system, path = file_system(name)
    return system.exists(path)


def move(path: Path, name: str) -> None:
    """Moves a finished file to `name`, where it appears complete or not at all."""
    if "://" in name:
        system, destination = url_to_fs(name)
        system.makedirs(destination.rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), destination)
        path.unlink()
    else:
        path.replace(name)


def compress(data: bytes, compression: str | None) -> bytes:
    """`data` as a complete member or frame; several of them, concatenated, are a valid file."""
    if compression is None:
        return data
    if compression == "zstd":
        import pyarrow

        return pyarrow.Codec("zstd").compress(data, asbytes=True)
    buffer = BytesIO()
    # A gzip member holds the time, and equal rows are to be equal bytes.
    options = {"mtime": 0} if compression == "gzip" else {}
    with compr[compression](buffer, mode="wb", **options) as file:
        file.write(data)
    return buffer.getvalue()
