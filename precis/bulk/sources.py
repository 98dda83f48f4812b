"""Finds a bulk run's input files in paths, folders, globs and addresses; names those that it leaves out."""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

from precis.bulk.errors import BulkError, short_reason
from precis.bulk.files import FORMATS, Source, file_system, full_name, is_local, known_type

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # how Hive, Spark and Arrow name a folder of null values
PARTITION = re.compile(r"([^=]+)=(.*)")


class Inputs(NamedTuple):
    """The files to read, and those in folders that are not read: hidden ones and those of no known type."""

    sources: list[Source]
    not_read: list[str]


def find_inputs(names: list[str]) -> Inputs:
    """The files that `names` (files, folders or globs) match, those of a folder in the order of their names.

    Raises BulkError for a name without a match, and for one that is not a regular file, such as a named pipe.
    """
    inputs = Inputs([], [])
    for name in names:
        try:
            system, path = file_system(name)
            matches = list(_expand(system, path, inputs.not_read))
        except (OSError, ImportError, ValueError) as error:
            raise BulkError(f"{name} cannot be reached: {short_reason(error)}.") from error
        if not matches:
            endings = ", ".join(FORMATS)
            raise BulkError(f"There is no file {name}, nor a folder with files that end in one of {endings}.")
        inputs.sources.extend(matches)
    return inputs


def _expand(system: Any, name: str, not_read: list[str]) -> Iterator[Source]:
    for path in [name] if system.exists(name) else sorted(system.glob(name)):
        if system.isdir(path):
            yield from _folder(system, path, not_read)
        else:
            yield _source(system, path, _partitions(full_name(system, path).rpartition("/")[0]))


def _folder(system: Any, folder: str, not_read: list[str]) -> Iterator[Source]:
    files = _walk(folder) if is_local(system) else system.find(folder)
    for path in sorted(files):
        inner = PurePosixPath(path).relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in inner.parts)
        # An address lists nothing but files; here there are pipes and broken links, too.
        if hidden or known_type(path) is None or (is_local(system) and not system.isfile(path)):
            not_read.append(full_name(system, path))
        else:
            yield _source(system, path, _partitions(full_name(system, folder), inner.parts[:-1]))


def _walk(folder: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """All files under a local folder, through links too. Raises OSError for a folder that cannot be read.

    A link to one of the folders `above`, which would never come to an end, is returned like a file.
    """
    above |= {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and os.path.realpath(entry.path) not in above:
                yield from _walk(entry.path, above)
            else:
                yield entry.path


def _partitions(parent: str, inner: tuple[str, ...] = ()) -> tuple[tuple[str, str | None], ...]:
    """The columns that Hive's layout writes into the names of folders, `year=2023`.

    They are those among the `inner` folders, which were searched, and the innermost ones of the path `parent`.
    """
    outer = itertools.takewhile(PARTITION.fullmatch, reversed(PurePosixPath(parent).parts))
    matches = [match for folder in [*reversed([*outer]), *inner] if (match := PARTITION.fullmatch(folder))]
    values = {unquote(match[1]): None if match[2] == NULL_PARTITION else unquote(match[2]) for match in matches}
    return tuple(values.items())


def _source(system: Any, path: str, partitions: tuple[tuple[str, str | None], ...]) -> Source:
    info, name = system.info(path), full_name(system, path)
    if info["type"] != "file":
        raise BulkError(f"{name} is not a regular file: a pipe cannot be read twice; write it to a file first.")
    stamp = str(info.get("ETag", info.get("mtime", "")))
    return Source(name, info["size"], stamp, partitions)
