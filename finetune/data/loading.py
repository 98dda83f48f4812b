"""Loads pairs of documents and summaries from files or the hub, checks them and splits them."""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice, starmap
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, config, disable_progress_bars, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.hf_api import RepoFolder

from finetune.data.files import DataFiles, find_files
from finetune.data.readers import Columns, Row, read_rows
from finetune.errors import UserError
from finetune.recipe import Data
from precis.text import is_blank

PARQUET_BRANCH = "refs/convert/parquet"  # the hub converts every public data set to Parquet on this branch
VALIDATION_PERCENT = 10  # of the pairs, if the recipe names no validation set
CACHE_VERSION = 1  # to be raised when the readers read something else from the same files
WRITTEN_ROWS = 256  # in a record batch
SCHEMA = pa.schema({"document": pa.large_string(), "summary": pa.large_string()})
TEXT_TYPES = ("string", "large_string", "string_view")

disable_progress_bars()


@dataclass(frozen=True)
class Pairs:
    """Both splits with the columns `document` and `summary`, of which no text is empty. The texts stay on disk.

    `dropped` counts the pairs of each split that were left out because a text was empty. `revision` is the one that was
    read from the hub, `commit` what it stood for. `sha256` holds the hash of each split's files.
    `all_validation` are the pairs of which `validation` may be a sample.
    """

    train: Dataset
    validation: Dataset
    dropped: dict[str, int]
    revision: str | None = None
    commit: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    all_validation: Dataset | None = None


@dataclass(frozen=True)
class _Split:
    pairs: Dataset
    dropped: int
    revision: str | None = None
    commit: str | None = None
    sha256: str | None = None


def load_pairs(data: Data, seed: int) -> Pairs:
    """Loads the splits of a recipe's `data` section. Raises UserError that names the key, file or column at fault."""
    if data.document_column == data.summary_column:
        raise UserError(f"data.summary_column: {data.summary_column} is the column of the documents, too.")
    loaded = {key: _load(data, key) for key in ("train", "validation") if getattr(data, key) is not None}
    train = loaded["train"].pairs
    if "validation" in loaded:
        validation = loaded["validation"].pairs
    else:
        train, validation = _split_by_hash(train)
        if not len(train) or not len(validation):
            raise UserError(
                f"data.train: {data.train} has too few different documents to hold back {VALIDATION_PERCENT}% of the "
                "pairs; name data.validation."
            )
    all_validation = validation
    if data.validation_documents is not None and data.validation_documents < len(validation):
        validation = validation.shuffle(seed=seed).select(range(data.validation_documents))
    return Pairs(
        train,
        validation,
        {key: split.dropped for key, split in loaded.items()},
        loaded["train"].revision,
        loaded["train"].commit,
        {key: split.sha256 for key, split in loaded.items() if split.sha256},
        all_validation,
    )


def document_hash(document: str) -> int:
    """A number that is the same for documents which differ in case and white space only."""
    normalized = " ".join(document.split()).casefold()
    return int(hashlib.sha256(normalized.encode()).hexdigest(), 16)


def document_hashes(pairs: Dataset) -> np.ndarray:
    """The last 64 bits of `document_hash` of each document, (pairs,)."""
    return _for_each_pair(pairs, lambda document, _: document_hash(document) % 2**64, np.uint64)


def _for_each_pair(pairs: Dataset, function: Callable[[str, str], int], dtype: type) -> np.ndarray:
    """The number that `function` gives for each document and summary, (pairs,)."""
    batches = pairs.iter(WRITTEN_ROWS)
    rows = (row for batch in batches for row in zip(batch["document"], batch["summary"], strict=True))
    return np.fromiter(starmap(function, rows), dtype, len(pairs))


def _load(data: Data, key: str) -> _Split:
    source = getattr(data, key)
    if data.name is None:
        files = find_files(source, key)
        split = _Split(_read_files(files, Columns(data.document_column, data.summary_column)), 0, sha256=files.sha256)
    else:
        split = _load_from_hub(data, data.name, key)
    has_text = _for_each_pair(split.pairs, lambda *texts: not any(map(is_blank, texts)), np.bool_)
    if not has_text.any():
        raise UserError(f"data.{key} ({source}) holds no pair with both a document and a summary.")
    pairs = split.pairs if has_text.all() else split.pairs.select(np.flatnonzero(has_text))
    return replace(split, pairs=pairs, dropped=len(split.pairs) - len(pairs))


def _read_files(files: DataFiles, columns: Columns) -> Dataset:
    """The rows of local files, from an Arrow file in the cache of `datasets` that the files' content names."""
    settings = (CACHE_VERSION, files.kind, files.sha256, columns.document, columns.summary)
    path = Path(config.HF_DATASETS_CACHE) / "precis" / f"{hashlib.sha256(repr(settings).encode()).hexdigest()}.arrow"
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
                rows = read_rows(files, columns)
                while chunk := list(islice(rows, WRITTEN_ROWS)):
                    writer.write_batch(_record_batch(chunk, files))
            partial.rename(path)
        except OSError as error:
            reason = f"{path.parent}, the cache, cannot be written ({error})"
            raise UserError(f"data.{files.key}: {reason}; make room, or name another folder by HF_HOME.") from error
        finally:
            with suppress(OSError):
                partial.unlink()
    return Dataset.from_file(str(path))


def _record_batch(rows: list[Row], files: DataFiles) -> pa.RecordBatch:
    try:
        return pa.record_batch([pa.array(texts, pa.large_string()) for texts in zip(*rows, strict=True)], SCHEMA)
    except UnicodeEncodeError as error:
        raise UserError(
            f"data.{files.key}: {files.source} holds half of a character ({error.object[:40]!r})."
        ) from error


def _load_from_hub(data: Data, name: str, key: str) -> _Split:
    source = getattr(data, key)
    try:
        # datasets 4 refuses a loading script; the hub's conversion of it can be read.
        revision = data.revision or (PARQUET_BRANCH if _has_loading_script(name) else None)
        if revision == PARQUET_BRANCH:  # where subsets are folders, which load_dataset would read all together
            subsets = _converted_subsets(name)
            is_needed = data.subset is not None or len(subsets) > 1
            if subsets and is_needed and data.subset not in subsets:
                raise UserError(f"data.subset: {name} has the subsets {', '.join(subsets)}; name one of them.")
            loaded = load_dataset(name, data_dir=data.subset, revision=revision, split=source)
        else:
            loaded = load_dataset(name, data.subset, revision=revision, split=source)
    except DatasetNotFoundError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            raise UserError(f"data.revision: {name} has no revision {data.revision} on the hub.") from error
        raise UserError(f"data.name: the hub has no data set {name} that can be read from here.") from error
    except (ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).splitlines()[:2])
        option = "subset" if "Config" in reason else "name"  # datasets has another word for it
        raise UserError(f"data.{option}: {name}, split {source}, cannot be loaded: {reason}") from error
    columns = Columns(data.document_column, data.summary_column)
    columns.check(f"{name}: {source}", key, loaded.column_names)
    for column in (columns.document, columns.summary):
        kind = getattr(loaded.features[column], "dtype", "nested")
        if kind not in TEXT_TYPES:
            raise columns.refuse_type(f"{name}: {source}", key, column, kind)
    pairs = loaded.select_columns([columns.document, columns.summary])
    pairs = pairs.rename_columns({columns.document: "document", columns.summary: "summary"})
    # `datasets` names the folder in its cache by the commit, which the hub may not be there to tell.
    folder = Path(loaded.cache_files[0]["filename"]).parent.name if loaded.cache_files else ""
    commit = folder if re.fullmatch("[0-9a-f]{40}", folder) else None
    if config.HF_HUB_OFFLINE:
        revision = f"from cache, revision {revision or commit}"
    return _Split(pairs, 0, revision, commit)


def _has_loading_script(name: str) -> bool:
    """Whether the data set on the hub is a loading script.

    load_dataset does not reliably refuse one: it reads any revision of the set that is in its cache instead.
    """
    try:
        return HfApi().file_exists(name, f"{name.rpartition('/')[2]}.py", repo_type="dataset")
    except OSError:  # no hub, or a private data set: load_dataset reads its cache or says what is wrong
        return False


def _converted_subsets(name: str) -> list[str]:
    """The subsets of a data set on the hub's Parquet branch; none where the hub cannot be asked."""
    try:
        entries = list(HfApi().list_repo_tree(name, revision=PARQUET_BRANCH, repo_type="dataset"))
    except OSError:
        return []
    return sorted(entry.path for entry in entries if isinstance(entry, RepoFolder))


def _split_by_hash(pairs: Dataset) -> tuple[Dataset, Dataset]:
    """Training and validation pairs by the document's hash, so that equal documents are in the same split."""
    held_back = _for_each_pair(pairs, lambda document, _: document_hash(document) % 100 < VALIDATION_PERCENT, np.bool_)
    return pairs.select(np.flatnonzero(~held_back)), pairs.select(np.flatnonzero(held_back))
