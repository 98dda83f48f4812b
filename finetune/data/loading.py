"""Loads (document, summary) pairs from files or the hub and checks them before anything is trained."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Value, disable_progress_bars, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from finetune.errors import UserError
from finetune.recipe import Data
from precis.text import is_blank

READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
PARQUET_BRANCH = "refs/convert/parquet"  # where the hub keeps its own conversion of every public set
HELD_BACK = 10  # per cent of the pairs, where the recipe names no validation set

disable_progress_bars()


@dataclass(frozen=True)
class Pairs:
    """Checked pairs: columns `document` and `summary`, no empty ones; the counts say what was left out."""

    train: Dataset
    validation: Dataset
    left_out: dict[str, int]
    revision: str | None = None  # of the hub, where it is not the recipe's


def load_pairs(data: Data, seed: int) -> Pairs:
    """Both sets of a recipe's `data` section. Raises UserError naming the key, file or column at fault."""
    loaded, revision = _load(data, "train")
    train, dropped_train = _checked(loaded, data, "train")
    left_out = {"train": dropped_train}
    if data.validation is None:
        train, validation = _split_by_hash(train)
        if not len(train) or not len(validation):
            raise UserError(
                f"data.train: {data.train} has too few pairs to hold back {HELD_BACK}% of them; name data.validation."
            )
    else:
        validation, left_out["validation"] = _checked(_load(data, "validation")[0], data, "validation")
    if data.validation_documents is not None and data.validation_documents < len(validation):
        validation = validation.shuffle(seed=seed).select(range(data.validation_documents))
    return Pairs(train, validation, left_out, revision)


def _load(data: Data, key: str) -> tuple[Dataset, str | None]:
    """One split as it lies in its file, its folder or on the hub, and the hub's revision."""
    source = getattr(data, key)
    if data.name is not None:
        try:
            return _from_hub(data.name, source, data.revision)
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
        raise UserError(
            f"data.{key}: {source} should end in one of {', '.join(READERS)}, be a folder, or data.name be given."
        )
    if not path.is_file():
        raise UserError(f"data.{key}: there is no file {source}.")
    if not path.stat().st_size:
        raise UserError(f"data.{key}: {source} is empty.")
    try:
        return load_dataset(READERS[path.suffix], data_files=str(path), split="train"), None
    except (DatasetGenerationError, ValueError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"data.{key}: {source} cannot be read as {path.suffix[1:]}: {reason}") from error


def _from_hub(name: str, split: str, revision: str | None) -> tuple[Dataset, str | None]:
    """A split of a hub set; one that is a loading script, which datasets 4 refuses, by way of its Parquet branch."""
    if revision is None and _is_a_script(name):
        revision = PARQUET_BRANCH
    return load_dataset(name, revision=revision, split=split), revision


def _is_a_script(name: str) -> bool:
    """Whether the hub has a loading script for the set.

    Asked beforehand, since load_dataset's refusal cannot be told by: where any revision of the set is in its cache, it
    reads that instead.
    """
    try:
        return HfApi().file_exists(name, f"{name.rpartition('/')[2]}.py", repo_type="dataset")
    except OSError:  # no hub, or a closed set: load_dataset reads what is in store, or tells
        return False


def _from_folder(folder: Path, data: Data, key: str) -> Dataset:
    """Pairs of text files with the same name in `folder`/documents and `folder`/summaries, in the names' order."""
    parts = {name: folder / name for name in ("documents", "summaries")}
    found = {
        name: {path.relative_to(part) for path in part.rglob("*.txt")} if part.is_dir() else set()
        for name, part in parts.items()
    }
    if not any(found.values()):
        raise UserError(f"data.{key}: {folder} should hold documents/NAME.txt and summaries/NAME.txt.")
    if alone := sorted(found["documents"] ^ found["summaries"]):
        lacking = "summaries" if alone[0] in found["documents"] else "documents"
        raise UserError(f"data.{key}: {parts[lacking] / alone[0]} is missing, and {len(alone)} such partners in all.")
    columns = {}
    for column, part in ((data.document_column, parts["documents"]), (data.summary_column, parts["summaries"])):
        columns[column] = []
        for name in sorted(found["documents"]):
            try:
                columns[column].append((part / name).read_text(encoding="utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(f"data.{key}: {part / name} is not UTF-8 text.") from error
    return Dataset.from_dict(columns)


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
    full = checked.filter(lambda row: not is_blank(row["document"]) and not is_blank(row["summary"]))
    if not len(full):
        raise UserError(f"{source} holds no pair with both a document and a summary.")
    return full, len(checked) - len(full)


def _split_by_hash(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Splits by the document's own hash: the same document always falls on the same side, so none is on both."""

    def held_back(row: dict[str, str]) -> bool:
        return int(hashlib.sha256(row["document"].encode()).hexdigest(), 16) % 100 < HELD_BACK

    return dataset.filter(lambda row: not held_back(row)), dataset.filter(held_back)
