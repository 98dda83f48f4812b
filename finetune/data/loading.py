"""Loads pairs of documents and summaries from files or the hub, checks them and splits them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Value, disable_progress_bars, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from finetune.errors import UserError
from finetune.recipe import Data
from precis.text import is_blank, without_special_tokens

READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
PARQUET_BRANCH = "refs/convert/parquet"  # the hub converts every public data set to Parquet on this branch
VALIDATION_PERCENT = 10  # of the pairs, if the recipe names no validation set

disable_progress_bars()


@dataclass(frozen=True)
class Pairs:
    """Both splits with the columns `document` and `summary`, of which no text is empty.

    `dropped` counts the pairs of each split that were left out because a text was empty. `revision` is the one that was
    read from the hub.
    """

    train: Dataset
    validation: Dataset
    dropped: dict[str, int]
    revision: str | None = None


def load_pairs(data: Data, seed: int) -> Pairs:
    """Loads the splits of a recipe's `data` section. Raises UserError that names the key, file or column at fault."""
    loaded, revision = _load(data, "train")
    train, count = _select_columns(loaded, data, "train")
    dropped = {"train": count}
    if data.validation is None:
        train, validation = _split_by_hash(train)
        if not len(train) or not len(validation):
            raise UserError(
                f"data.train: {data.train} has too few pairs to hold back {VALIDATION_PERCENT}% of them; "
                "name data.validation."
            )
    else:
        validation, dropped["validation"] = _select_columns(_load(data, "validation")[0], data, "validation")
    if data.validation_documents is not None and data.validation_documents < len(validation):
        validation = validation.shuffle(seed=seed).select(range(data.validation_documents))
    return Pairs(train, validation, dropped, revision)


def _load(data: Data, key: str) -> tuple[Dataset, str | None]:
    """One split from its file, its folder or the hub, unchecked, and the hub's revision."""
    source = getattr(data, key)
    if data.name is not None:
        try:
            # datasets 4 refuses a loading script; the hub's conversion of it can be read.
            revision = data.revision or (PARQUET_BRANCH if _has_loading_script(data.name) else None)
            return load_dataset(data.name, revision=revision, split=source), revision
        except DatasetNotFoundError as error:
            if isinstance(error.__cause__, RevisionNotFoundError):
                raise UserError(f"data.revision: {data.name} has no revision {data.revision} on the hub.") from error
            raise UserError(f"data.name: the hub has no data set {data.name} that can be read from here.") from error
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"data.name: {data.name}, split {source}, cannot be loaded: {reason}") from error
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, data, key), None
    if path.suffix not in READERS:
        raise UserError(f"data.{key}: {source} is no folder and does not end in one of {', '.join(READERS)}.")
    if not path.is_file():
        raise UserError(f"data.{key}: there is no file {source}.")
    if not path.stat().st_size:
        raise UserError(f"data.{key}: {source} is empty.")
    try:
        return load_dataset(READERS[path.suffix], data_files=str(path), split="train"), None
    except (DatasetGenerationError, ValueError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"data.{key}: {source} cannot be read as {path.suffix[1:]}: {reason}") from error


def _has_loading_script(name: str) -> bool:
    """Whether the data set on the hub is a loading script.

    load_dataset does not reliably refuse one: it reads any revision of the set that is in its cache instead.
    """
    try:
        return HfApi().file_exists(name, f"{name.rpartition('/')[2]}.py", repo_type="dataset")
    except OSError:  # no hub, or a private data set: load_dataset reads its cache or says what is wrong
        return False


def _from_folder(folder: Path, data: Data, key: str) -> Dataset:
    """Pairs of text files of the same name in `folder`/documents and `folder`/summaries, sorted by name."""
    folders = {name: folder / name for name in ("documents", "summaries")}
    files = {name: {path.relative_to(part) for path in part.rglob("*.txt")} for name, part in folders.items()}
    if not any(files.values()):
        raise UserError(f"data.{key}: {folder} should hold documents/NAME.txt and summaries/NAME.txt.")
    if unpaired := sorted(files["documents"] ^ files["summaries"]):
        other = "summaries" if unpaired[0] in files["documents"] else "documents"
        raise UserError(
            f"data.{key}: {folders[other] / unpaired[0]} is missing; {len(unpaired)} files have no counterpart."
        )
    columns: dict[str, list[str]] = {}
    for column, part in ((data.document_column, folders["documents"]), (data.summary_column, folders["summaries"])):
        columns[column] = []
        for name in sorted(files["documents"]):
            try:
                columns[column].append((part / name).read_text(encoding="utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(f"data.{key}: {part / name} is not UTF-8 text.") from error
    return Dataset.from_dict(columns)


def _select_columns(dataset: Dataset, data: Data, key: str) -> tuple[Dataset, int]:
    """Columns `document` and `summary` without rows in which either is empty, and the number of those rows."""
    source = f"data.{key} ({data.name + ': ' if data.name else ''}{getattr(data, key)})"
    for option in ("document_column", "summary_column"):
        column = getattr(data, option)
        if column not in dataset.column_names:
            raise UserError(
                f"data.{option}: {source} has no column {column}; its columns are {', '.join(dataset.column_names)}."
            )
        if dataset.num_rows and dataset.features[column] not in (Value("string"), Value("large_string")):
            kind = getattr(dataset.features[column], "dtype", "nested")
            raise UserError(f"data.{option}: column {column} of {source} holds {kind} values, not text.")
    documents, summaries = dataset[data.document_column], dataset[data.summary_column]
    cleaned = {"document": documents, "summary": summaries}
    pairs = Dataset.from_dict(
        {name: [text and without_special_tokens(text) for text in texts] for name, texts in cleaned.items()}
    )
    complete = pairs.filter(lambda row: not is_blank(row["document"]) and not is_blank(row["summary"]))
    if not len(complete):
        raise UserError(f"{source} holds no pair with both a document and a summary.")
    return complete, len(pairs) - len(complete)


def _split_by_hash(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Training and validation pairs by the document's hash, so that equal documents are in the same split."""

    def is_validation(row: dict[str, str]) -> bool:
        return int(hashlib.sha256(row["document"].encode()).hexdigest(), 16) % 100 < VALIDATION_PERCENT

    return dataset.filter(lambda row: not is_validation(row)), dataset.filter(is_validation)
