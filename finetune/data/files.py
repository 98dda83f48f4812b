"""Finds the files that a recipe's data keys name: a file, a folder of shards or of text pairs, or a pattern."""

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import UserError
from precis.bundle.manifest import sha256

ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")  # all but the last also with .gz
TEXT_PAIRS = "text"  # the kind of documents/NAME.txt with summaries/NAME.txt
TEXT_FOLDERS = ("documents", "summaries")


@dataclass(frozen=True)
class DataFiles:
    """The files of one split in the order in which they are read, all of one kind: an ending, or TEXT_PAIRS.

    `sha256` is that of the file, or of the list of hashes and names of several files. Of text pairs `paths` holds the
    documents, then the summaries.
    """

    key: str  # "train" or "validation"
    source: str  # as the recipe names it
    kind: str
    paths: list[Path]
    sha256: str


def find_files(source: str, key: str) -> DataFiles:
    """The files that `source`, the value of data.`key`, names. Raises UserError."""
    path = Path(source)
    if path.is_dir() and any((path / name).is_dir() for name in TEXT_FOLDERS):
        paths = _text_pairs(path, key)
        return DataFiles(key, source, TEXT_PAIRS, paths, hash_files(paths, path))
    if path.is_dir():
        below = [file for file in sorted(path.rglob("*")) if file.is_file() and _kind(file)]
        # Spark and Hadoop put _SUCCESS and .part-0.crc next to the shards.
        paths = [file for file in below if not any(part[0] in "._" for part in file.relative_to(path).parts)]
        if not paths:
            raise UserError(
                f"data.{key}: {source} holds neither files that end in one of {', '.join(ENDINGS)} nor "
                "documents/NAME.txt and summaries/NAME.txt."
            )
    else:
        # An existing path is not read as a pattern, even with [ ] * ? in it.
        paths = [path] if path.exists() else sorted(map(Path, glob.glob(source, recursive=True)))
    if not paths:
        raise UserError(f"data.{key}: there is no file {source}.")
    kinds = {_kind(file) for file in paths}
    if "" in kinds:
        raise UserError(f"data.{key}: {source} is no folder and does not end in one of {', '.join(ENDINGS)}, or .gz.")
    if len(kinds) > 1:
        raise UserError(f"data.{key}: {source} holds files of several formats ({', '.join(sorted(kinds))}).")
    filled = [file for file in paths if file.stat().st_size]
    if not filled:
        raise UserError(f"data.{key}: {source} is empty.")
    return DataFiles(key, source, kinds.pop(), filled, hash_files(filled, path))


def _kind(path: Path) -> str:
    """The ending of `path` without .gz, if it can be read; else ""."""
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    return ending if ending in ENDINGS and not name.endswith(".parquet.gz") else ""


def hash_files(paths: list[Path], folder: Path) -> str:
    """The SHA-256 of the only file, or of the list of hashes and names of several.

    Names count relative to `folder`, so that a moved folder keeps its hash.
    """
    if len(paths) == 1:
        return sha256(paths[0])
    names = [path.relative_to(folder) if path.is_relative_to(folder) else path.name for path in paths]
    lines = sorted(f"{sha256(path)} {name}" for path, name in zip(paths, names, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _text_pairs(folder: Path, key: str) -> list[Path]:
    """Text files of the same name in `folder`/documents and `folder`/summaries, sorted by name."""
    folders = [folder / name for name in TEXT_FOLDERS]
    documents, summaries = ({path.relative_to(part) for path in part.rglob("*.txt")} for part in folders)
    if not documents | summaries:
        raise UserError(f"data.{key}: {folder} should hold documents/NAME.txt and summaries/NAME.txt.")
    if unpaired := sorted(documents ^ summaries):
        other = folders[unpaired[0] in documents]
        raise UserError(f"data.{key}: {other / unpaired[0]} is missing; {len(unpaired)} files have no counterpart.")
    return [part / name for part in folders for name in sorted(documents)]
