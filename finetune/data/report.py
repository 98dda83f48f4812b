"""What a person should know of a data set before hours go into it: lengths, cuts, doubles, leaks, language."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from rich.table import Table

from finetune.data.language import language_of
from finetune.data.loading import Pairs
from finetune.files import write_text
from finetune.recipe import Data
from finetune.reports.plots import length_histogram
from finetune.reports.progress import console

SAMPLE = 200  # texts that the language is guessed from
FEW = 100  # pairs below which ROUGE is mostly noise


@dataclass(frozen=True)
class SplitReport:
    """Figures of one split; lengths in tokens with prefix and end token: [median, 95th percentile, longest]."""

    pairs: int
    left_out_empty: int
    document_tokens: list[int]
    summary_tokens: list[int]
    documents_cut: int
    summaries_cut: int
    duplicate_documents: int
    language: str


@dataclass(frozen=True)
class Report:
    """Both splits, and how many validation documents stand in the training set as well."""

    splits: dict[str, SplitReport]
    leaks: int
    warnings: list[str]

    def as_dict(self) -> dict:
        return asdict(self)


def report(pairs: Pairs, encoded: dict[str, Dataset], data: Data) -> Report:
    """Counts of `pairs`; `encoded` holds `tokenized` sets of the same names."""
    known, splits = {}, {}
    for name, rows in (("train", pairs.train), ("validation", pairs.validation)):
        documents = [" ".join(text.split()).casefold() for text in rows["document"]]
        known[name] = set(documents)
        lengths = {key: np.array(encoded[name][f"{key}_tokens"]) for key in ("document", "summary")}
        splits[name] = SplitReport(
            pairs=len(rows),
            left_out_empty=pairs.left_out.get(name, 0),
            document_tokens=_percentiles(lengths["document"]),
            summary_tokens=_percentiles(lengths["summary"]),
            documents_cut=int((lengths["document"] > data.max_document_tokens).sum()),
            summaries_cut=int((lengths["summary"] > data.max_summary_tokens).sum()),
            duplicate_documents=len(documents) - len(known[name]),
            language=language_of(rows["document"][:SAMPLE]),
        )
    leaks = len(known["train"] & known["validation"])
    return Report(splits, leaks, _warnings(splits, leaks, data))


def _percentiles(lengths: np.ndarray) -> list[int]:
    return [round(float(value)) for value in np.percentile(lengths, [50, 95, 100])]


def _warnings(splits: dict[str, SplitReport], leaks: int, data: Data) -> list[str]:
    """One sentence for each thing that will make the result worse or the figures wrong."""
    told = []
    train, validation = splits["train"], splits["validation"]
    if leaks:
        told.append(f"{leaks} validation documents are in the training set too: ROUGE will flatter.")
    if validation.pairs < FEW:
        told.append(f"{validation.pairs} validation pairs are few: mind the intervals.")
    if train.duplicate_documents:
        told.append(f"{train.duplicate_documents} training documents come again.")
    if train.documents_cut > train.pairs / 4:
        told.append(
            f"{train.documents_cut / train.pairs:.0%} of the documents are longer than data.max_document_tokens="
            f"{data.max_document_tokens}: the model will not see their ends."
        )
    if train.summaries_cut:
        told.append(
            f"{train.summaries_cut} training summaries are longer than data.max_summary_tokens="
            f"{data.max_summary_tokens} and are cut: the model learns to stop there."
        )
    if train.language != "English":
        told.append(f"The language seems to be {train.language}: T5 v1.0 knows English, mT5 a hundred others.")
    return told


def show(found: Report) -> None:
    """Prints the figures as a table and the warnings below it."""
    table = Table("", *found.splits, box=None, header_style="bold")
    for title, values in _rows(found):
        table.add_row(title, *values)
    console.print(table)
    for sentence in found.warnings:
        console.print(f"[yellow]![/yellow] {sentence}", highlight=False)


def write(found: Report, encoded: dict[str, Dataset], data: Data, folder: Path) -> None:
    """Writes data.md with the table and data.png with the lengths' histograms into `folder`."""
    lines = ["# The data", "", "| | " + " | ".join(found.splits) + " |", "|---" * (1 + len(found.splits)) + "|"]
    lines += [f"| {title} | {' | '.join(values)} |" for title, values in _rows(found)]
    lines += ["", *(f"- {sentence}" for sentence in found.warnings), "", "![Lengths in tokens](data.png)", ""]
    write_text(folder / "data.md", "\n".join(lines))
    lengths = {key: encoded["train"][f"{key}_tokens"] for key in ("document", "summary")}
    limits = {"document": data.max_document_tokens, "summary": data.max_summary_tokens}
    length_histogram(lengths, limits, folder / "data.png")


def _rows(found: Report) -> list[tuple[str, list[str]]]:
    splits = found.splits.values()

    def spread(values: list[int]) -> str:
        return " / ".join(f"{value:,}" for value in values)

    def share(count: int, split: SplitReport) -> str:
        return f"{count:,} ({count / split.pairs:.1%})"

    return [
        ("pairs", [f"{split.pairs:,}" for split in splits]),
        ("left out: no document or no summary", [f"{split.left_out_empty:,}" for split in splits]),
        ("document tokens: median / 95% / longest", [spread(split.document_tokens) for split in splits]),
        ("summary tokens: median / 95% / longest", [spread(split.summary_tokens) for split in splits]),
        ("documents cut", [share(split.documents_cut, split) for split in splits]),
        ("summaries cut", [share(split.summaries_cut, split) for split in splits]),
        ("documents that come again", [f"{split.duplicate_documents:,}" for split in splits]),
        ("in the training set too", ["", f"{found.leaks:,}"]),
        ("language (a guess)", [split.language for split in splits]),
    ]
