"""The data report: token lengths, truncated texts, duplicates, leaks between the splits, and language."""

from pathlib import Path

import numpy as np
from datasets import Dataset
from rich.table import Table

from finetune.data.language import UNDETERMINED, detect_language
from finetune.data.loading import Pairs, document_hashes
from finetune.data.tokenizing import token_counts
from finetune.files import write_text
from finetune.recipe import Data
from finetune.reports.plots import length_histogram
from finetune.reports.progress import console
from finetune.run_info import DataReport, SplitReport, Splits

LANGUAGE_SAMPLE = 200  # documents that the language is identified from
FEW_PAIRS = 100  # validation pairs below which ROUGE is mostly noise


def data_report(pairs: Pairs, encoded: dict[str, Dataset], data: Data) -> DataReport:
    """Counts both splits of `pairs`. `encoded` holds the results of `tokenize_pairs` by split."""
    rows = {"train": pairs.train, "validation": pairs.validation}
    documents = {name: np.unique(document_hashes(split)) for name, split in rows.items()}
    reports = {
        name: _split_report(rows[name], len(documents[name]), encoded[name], pairs.dropped.get(name, 0), data)
        for name in rows
    }
    splits = Splits(**reports)
    leaks = len(np.intersect1d(documents["train"], documents["validation"], assume_unique=True))
    return DataReport(splits=splits, leaks=leaks, warnings=_warnings(splits, leaks, data))


def _split_report(pairs: Dataset, documents: int, encoded: Dataset, dropped: int, data: Data) -> SplitReport:
    """`documents` counts those that differ."""
    document_tokens, summary_tokens = (token_counts(encoded, f"{name}_tokens") for name in ("document", "summary"))
    return SplitReport(
        pairs=len(pairs),
        skipped_empty=dropped,
        document_tokens=_percentiles(document_tokens),
        summary_tokens=_percentiles(summary_tokens),
        documents_cut=int((document_tokens > data.max_document_tokens).sum()),
        summaries_cut=int((summary_tokens > data.max_summary_tokens).sum()),
        duplicate_documents=len(pairs) - documents,
        language=detect_language(pairs["document"][:LANGUAGE_SAMPLE]),
    )


def _percentiles(lengths: np.ndarray) -> list[int]:
    return [round(float(value)) for value in np.percentile(lengths, [50, 95, 100])]


def _warnings(splits: Splits, leaks: int, data: Data) -> list[str]:
    """One sentence for each finding that makes the model worse or the scores unreliable."""
    warnings = []
    train, validation = splits.train, splits.validation
    if leaks:
        warnings.append(f"{leaks} validation documents are in the training set too, so ROUGE will be too high.")
    if validation.pairs < FEW_PAIRS:
        warnings.append(f"{validation.pairs} validation pairs are few, so the ROUGE intervals will be wide.")
    if train.duplicate_documents:
        warnings.append(f"{train.duplicate_documents} training documents are duplicates.")
    if train.documents_cut > train.pairs / 4:
        warnings.append(
            f"{train.documents_cut / train.pairs:.0%} of the training documents are longer than "
            f"data.max_document_tokens={data.max_document_tokens}: the model will not see their ends."
        )
    if train.summaries_cut:
        warnings.append(
            f"{train.summaries_cut} training summaries are longer than data.max_summary_tokens="
            f"{data.max_summary_tokens} and are cut: the model learns to stop there."
        )
    if train.language == UNDETERMINED:
        warnings.append("The language of the training documents could not be identified.")
    elif train.language != "en":
        warnings.append(
            f"The training documents seem to be in the language {train.language!r} (ISO 639): T5 v1.0 was trained on "
            "English, mT5 on a hundred other languages."
        )
    return warnings


def print_report(report: DataReport) -> None:
    """Prints the counts as a table and the warnings below it."""
    table = Table("", "train", "validation", box=None, header_style="bold")
    for title, values in _rows(report):
        table.add_row(title, *values)
    console.print(table)
    for warning in report.warnings:
        console.print(f"[yellow]![/yellow] {warning}", highlight=False)


def write_report(report: DataReport, train_set: Dataset, data: Data, folder: Path) -> None:
    """Writes data.md, the counts and warnings, and data.png, histograms of the lengths in `train_set`, to `folder`."""
    lines = ["# The data", "", "| | train | validation |", "|---|---|---|"]
    lines += [f"| {title} | {' | '.join(values)} |" for title, values in _rows(report)]
    lines += ["", *(f"- {warning}" for warning in report.warnings), "", "![Lengths in tokens](data.png)", ""]
    write_text(folder / "data.md", "\n".join(lines))
    lengths = {name: token_counts(train_set, f"{name}_tokens") for name in ("document", "summary")}
    limits = {"document": data.max_document_tokens, "summary": data.max_summary_tokens}
    length_histogram(lengths, limits, folder / "data.png")


def _rows(report: DataReport) -> list[tuple[str, list[str]]]:
    splits = (report.splits.train, report.splits.validation)

    def lengths(values: list[int]) -> str:
        return " / ".join(f"{value:,}" for value in values)

    def share(count: int, split: SplitReport) -> str:
        return f"{count:,} ({count / split.pairs:.1%})"

    return [
        ("pairs", [f"{split.pairs:,}" for split in splits]),
        ("left out: no document or no summary", [f"{split.skipped_empty:,}" for split in splits]),
        ("document tokens: median / 95% / longest", [lengths(split.document_tokens) for split in splits]),
        ("summary tokens: median / 95% / longest", [lengths(split.summary_tokens) for split in splits]),
        ("documents cut", [share(split.documents_cut, split) for split in splits]),
        ("summaries cut", [share(split.summaries_cut, split) for split in splits]),
        ("duplicate documents", [f"{split.duplicate_documents:,}" for split in splits]),
        ("documents also in the training set", ["", f"{report.leaks:,}"]),
        ("language (identified, ISO 639)", [split.language for split in splits]),
    ]
