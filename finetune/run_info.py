"""run.json: the typed record of a finished run. This module alone reads and writes the file."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from finetune.errors import UserError
from finetune.files import write_json
from finetune.recipe import Recipe
from precis.bundle.manifest import BaseModelSource, DataSource
from precis.bundle.reports import Record, RougeReport

RUN_FILE = "run.json"
ROUGE_FILE = "rouge.json"

T = TypeVar("T", bound=Record)


class SplitReport(Record):
    """Counts of one split. Lengths are in tokens, with prefix and end token: [median, 95th percentile, longest]."""

    pairs: int
    skipped_empty: int
    document_tokens: list[int]
    summary_tokens: list[int]
    documents_cut: int
    summaries_cut: int
    duplicate_documents: int
    language: str  # ISO 639 code, or "und" (undetermined)


class Splits(Record):
    """The counts of both splits."""

    train: SplitReport
    validation: SplitReport


class DataReport(Record):
    """What the data report shows. `leaks` counts validation documents that are in the training set as well."""

    splits: Splits
    leaks: int
    warnings: list[str]


class TrainingData(DataSource):
    """Where the pairs come from, and their counts. `train_cut` counts truncated documents and summaries."""

    skipped_empty: dict[str, int] = Field(default_factory=dict)
    train_cut: dict[str, int] = Field(default_factory=dict)
    report: DataReport | None = None


class RunInfo(Record):
    """How a run was made and what training cost. The defaults are those of a model that was not trained.

    Times are in seconds. `log` holds the Trainer's log rows. `tokens_per_second` counts tokens of documents and
    summaries without padding. `peak_memory_mib` is the GPU's if there is one, else the process's. The merge of the
    adapter moved a logit by at most `merge_max_logit_difference`, where the largest is `merge_max_logit`.
    """

    recipe: Recipe
    base_model: BaseModelSource
    data: TrainingData
    hardware: str
    git_commit: str | None
    versions: dict[str, str]
    training_seconds: float
    trained_parameters: int = 0
    training_steps: int = 0
    best_step: int = 0
    resumed_from_step: int | None = None
    tokens_per_second: float = 0.0
    peak_memory_mib: int = 0
    processes: int = 1
    log: list[dict[str, float]] = Field(default_factory=list)
    merge_max_logit_difference: float | None = None
    merge_max_logit: float | None = None
    total_seconds: float | None = None


def write_run(info: RunInfo, folder: Path) -> None:
    """Writes run.json into `folder`."""
    # A file has no revision and a hub data set no hash: keys of `data` that do not apply are left out.
    data = info.data.model_dump(mode="json", exclude_unset=True)
    write_json(folder / RUN_FILE, info.model_dump(mode="json") | {"data": data})


def read_run(folder: Path) -> RunInfo:
    """The record in `folder`. Raises UserError if the folder holds no finished run."""
    return _read(folder, RUN_FILE, RunInfo)


def read_rouge(folder: Path) -> RougeReport:
    """The ROUGE scores of the run in `folder`. Raises UserError if the folder holds no finished run."""
    return _read(folder, ROUGE_FILE, RougeReport)


def _read(folder: Path, name: str, model: type[T]) -> T:
    try:
        return model.model_validate_json((folder / name).read_bytes())
    except OSError as error:
        raise UserError(
            f"{folder} holds no finished run ({folder / name} is missing): run python -m finetune first."
        ) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise UserError(f"{folder} holds no finished run: its {name} is not valid JSON.") from error
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{folder / name}: {key}: {first['msg']}.") from error
