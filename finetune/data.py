"""Loads (document, summary) pairs from files or the hub and checks them before anything is trained."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Value, disable_progress_bars, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub.errors import RevisionNotFoundError

from finetune.errors import UserError
from finetune.recipe import Data

READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
HELD_BACK = 10  # per cent of the pairs, where the recipe names no validation set

disable_progress_bars()


@dataclass(frozen=True)
class Pairs:
    """Checked pairs: columns `document` and `summary`, no empty ones; the counts say what was left out."""

    train: Dataset
    validation: Dataset
    left_out: dict[str, int]


def load_pairs(data: Data, seed: int) -> Pairs:
    """Both sets of a recipe's `data` section. Raises UserError naming the key, file or column at fault."""
    train, dropped_train = _checked(_load(data, "train"), data, "train")
    left_out = {"train": dropped_train}
    if data.validation is None:
        train, validation = _split_by_hash(train)
        if not len(train) or not len(validation):
            raise UserError(
                f"data.train: {data.train} has too few pairs to hold back {HELD_BACK}% of them; name data.validation."
            )
    else:
        validation, left_out["validation"] = _checked(_load(data, "validation"), data, "validation")
    if data.validation_documents is not None and data.validation_documents < len(validation):
        validation = validation.shuffle(seed=seed).select(range(data.validation_documents))
    return Pairs(train, validation, left_out)


def _load(data: Data, key: str) -> Dataset:
    """One split as it lies in its file or on the hub."""
    source = getattr(data, key)
    if data.name is not None:
        try:
            return load_dataset(data.name, revision=data.revision, split=source)
        except DatasetNotFoundError as error:
            if isinstance(error.__cause__, RevisionNotFoundError):
                raise UserError(f"data.revision: {data.name} has no revision {data.revision} on the hub.") from error
            raise UserError(f"data.name: the hub has no data set {data.name} that can be read from here.") from error
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"data.name: {data.name}, split {source}, cannot be loaded: {reason}") from error
    path = Path(source)
    if path.suffix not in READERS:
        raise UserError(f"data.{key}: {source} should end in one of {', '.join(READERS)}, or data.name be given.")
    if not path.is_file():
        raise UserError(f"data.{key}: there is no file {source}.")
    if not path.stat().st_size:
        raise UserError(f"data.{key}: {source} is empty.")
    try:
        return load_dataset(READERS[path.suffix], data_files=str(path), split="train")
    except (DatasetGenerationError, ValueError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"data.{key}: {source} cannot be read as {path.suffix[1:]}: {reason}") from error


def _checked(dataset: Dataset, data: Data, key: str) -> tuple[Dataset, int]:
    """The two columns under their own names without rows that lack text, and how many rows that left out."""
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
    checked = Dataset.from_dict({"document": list(documents), "summary": list(summaries)})
    full = checked.filter(lambda row: bool((row["document"] or "").strip() and (row["summary"] or "").strip()))
    if not len(full):
        raise UserError(f"{source} holds no pair with both a document and a summary.")
    return full, len(checked) - len(full)


def _split_by_hash(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Splits by the document's own hash: the same document always falls on the same side, so none is on both."""

    def held_back(row: dict[str, str]) -> bool:
        return int(hashlib.sha256(row["document"].encode()).hexdigest(), 16) % 100 < HELD_BACK

    return dataset.filter(lambda row: not held_back(row)), dataset.filter(held_back)
