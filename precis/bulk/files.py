"""Input and output files: paths, folders, globs and addresses that fsspec reaches (s3:// and others)."""

import lzma
import zlib
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import fsspec
from fsspec.compression import compr
from fsspec.core import url_to_fs

from precis.bulk.errors import BulkError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}  # suffix: fsspec's name
# What readers raise for a truncated or altered file; pyarrow's errors are OSError or ValueError.
DAMAGE_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


class FileType(NamedTuple):
    """What a file's name says about it."""

    format: str  # "jsonl", "csv" or "parquet"
    compression: str | None  # fsspec's name of it


def file_type(name: str) -> FileType:
    """The type by the name's suffixes. Raises BulkError for a name without a known format."""
    *suffixes, last = ["", *PurePosixPath(name).suffixes]
    compression = COMPRESSIONS.get(last)
    known = FORMATS.get(suffixes[-1] if compression else last)
    if known is None:
        raise BulkError(
            f"{name} should end in one of {', '.join(FORMATS)}, and may then have one of {', '.join(COMPRESSIONS)}."
        )
    if known == "parquet" and compression:
        raise BulkError(f"{name}: a Parquet file is compressed inside, not as a whole.")
    return FileType(known, compression)


@dataclass(frozen=True)
class Source:
    """An input file of `size` bytes; `stamp` changes when the file does."""

    name: str
    size: int
    stamp: str

    def open(self) -> IO[bytes]:
        """The file as it is stored. Raises BulkError with the system's reason."""
        try:
            return fsspec.open(self.name, "rb").open()
        except OSError as error:
            raise BulkError(f"{self.name} cannot be read: {error.strerror or error}.") from error

    def decompressed(self, raw: IO[bytes]) -> IO[bytes]:
        """A stream of what the opened file contains; several compressed members or frames are one stream."""
        compression = file_type(self.name).compression
        if compression == "zstd":  # fsspec's own reader stops after the first frame
            import pyarrow

            return BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"))
        return compr[compression](raw, mode="rb")


def find_sources(names: list[str]) -> list[Source]:
    """The files that `names` (files, folders or globs) match, those of a folder in the order of their names.

    In folders, hidden files and those that begin with _ are skipped. Raises BulkError for a name without a match.
    """
    sources: list[Source] = []
    for name in names:
        try:
            system, path = url_to_fs(name)
            if system.isdir(path):
                paths = [match for match in system.find(path) if _is_data(PurePosixPath(match).relative_to(path))]
            else:
                paths = [path] if system.isfile(path) else sorted(system.glob(path))
            matches = [_source(system, match) for match in paths]
        except (OSError, ImportError, ValueError) as error:
            raise BulkError(f"{name} cannot be reached: {str(error).splitlines()[0]}") from error
        if not matches:
            endings = ", ".join(FORMATS)
            raise BulkError(f"There is no file {name}, nor a folder with files that end in one of {endings}.")
        sources += matches
    return sources


def _source(system: Any, path: str) -> Source:
    info = system.info(path)
    name = path if "file" in system.protocol else system.unstrip_protocol(path)
    return Source(name, info["size"], str(info.get("ETag", info.get("mtime", ""))))


def _is_data(path: PurePosixPath) -> bool:
    suffixes = [suffix for suffix in path.suffixes if suffix not in COMPRESSIONS]
    return bool(suffixes) and suffixes[-1] in FORMATS and not any(part.startswith((".", "_")) for part in path.parts)


def exists(name: str) -> bool:
    """Whether there is a file at the path or address."""
    system, path = url_to_fs(name)
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
    with compr[compression](buffer, mode="wb") as file:
        file.write(data)
    return buffer.getvalue()
