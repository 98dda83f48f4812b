"""Writes a run's model card and its samples of summaries."""

from pathlib import Path

import numpy as np
import yaml

from finetune.evaluation.rouge import KINDS, rouge_by_document
from finetune.files import write_text
from finetune.recipe import Generation
from finetune.run_info import DataReport, RunInfo
from precis.bundle.manifest import BaseModelSource
from precis.bundle.reports import RougeReport, Scores

SAMPLES = 10
SAMPLE_CHARACTERS = 400  # of each document


def write_card(info: RunInfo, report: DataReport, rouge: RougeReport, folder: Path) -> None:
    """Writes the card as README.md into the run's `folder` and its adapter/ and merged/."""
    text = model_card(info, report, rouge)
    for path in (folder, folder / "adapter", folder / "merged"):
        if path.is_dir():
            write_text(path / "README.md", text)


def model_card(info: RunInfo, report: DataReport, rouge: RougeReport) -> str:
    """The model card in Markdown with the hub's metadata as YAML front matter."""
    recipe, data, train = info.recipe, info.data, report.splits.train
    method = "LoRA" if recipe.lora else "full fine-tuning"
    return f"""---
{_metadata(info)}
---

# {recipe.output_folder.name}

{info.base_model.name} ({_revision(info.base_model)}), fine-tuned for summarization with {method}.
Put `{recipe.model.prefix}` before the text: the model was trained with this prefix.

## Data

{data.name or data.train} ({data.commit or "local file"}): {train.pairs:,} training pairs, \
{report.splits.validation.pairs:,} validation pairs, {sum(data.left_out_empty.values()):,} left out because a text was empty.
Identified language (ISO 639): {train.language}. The median document has {train.document_tokens[0]:,} tokens, the median summary \
{train.summary_tokens[0]:,}.
{train.documents_cut / train.pairs:.0%} of the documents were cut at {recipe.data.max_document_tokens:,} tokens, \
{train.summaries_cut:,} summaries at {recipe.data.max_summary_tokens:,}.
{report.leaks:,} validation documents are in the training set as well. {data.extracts:,} training targets are sentences of the document.

## ROUGE

F1 with stemming, in points, with 95% bootstrap intervals, on the same {rouge.documents:,} documents of `{rouge.split}` for all
systems. Generation: {_search(recipe.generation)}.

| | {" | ".join(KINDS)} |
|---|{"---|" * len(KINDS)}
{_score_rows(rouge)}

Difference of this model from the base, 95% interval of the paired bootstrap: {_differences(rouge)}.

## Training

{info.training_steps:,} steps, of which the weights after step {info.best_step:,} were kept; {info.trained_parameters:,} trained parameters;
{info.training_seconds:,.0f} s on {info.hardware} ({info.processes} process{"es" if info.processes > 1 else ""}), \
{info.tokens_per_second:,.0f} tokens per second, peak memory {info.peak_memory_mib:,} MiB.

| setting | value |
|---|---|
{_setting_rows(info)}

Versions: {", ".join(f"{library} {version}" for library, version in info.versions.items())}.

## Limits

ROUGE counts the words that a summary shares with one reference. It does not measure truth: a summary can change a name, a number
or a negation and still score well, so have a person check what matters. The model has learned the style of its training pairs. It
is worse on other kinds of text, in other languages, and on texts longer than its input. Bias was not measured. No licence is stated
here, since it depends on the licences of the base model and of the data.
"""


def _metadata(info: RunInfo) -> str:
    metadata = {
        "base_model": info.base_model.name,
        "library_name": "transformers",
        "pipeline_tag": "summarization",
        "tags": ["summarization", "t5", "lora" if info.recipe.lora else "full-fine-tuning"],
        "metrics": ["rouge"],
        **({"datasets": [info.data.name]} if info.data.name else {}),
    }
    return yaml.safe_dump(metadata, sort_keys=False).strip()


def _revision(base: BaseModelSource) -> str:
    if base.revision:
        return f"revision {base.revision}"
    return f"SHA-256 of the weights {base.sha256[:12]}…" if base.sha256 else "no revision"


def _search(generation: Generation) -> str:
    return ", ".join(f"{key} {value}" for key, value in generation.model_dump(exclude_none=True).items())


def _score_rows(rouge: RougeReport) -> str:
    systems = {"first sentence of the document": rouge.lead, "base model": rouge.base, "this model": rouge.finetuned}
    rows = []
    for title, scores in systems.items():
        if scores:
            rows.append(f"| {title} | " + " | ".join(_score(scores, kind) for kind in KINDS) + " |")
    return "\n".join(rows)


def _score(scores: Scores, kind: str) -> str:
    low, high = scores.ci95[kind]
    return f"{getattr(scores, kind):.2f} [{low:.2f}, {high:.2f}]"


def _differences(rouge: RougeReport) -> str:
    return ", ".join(f"{kind} {low:+.2f} to {high:+.2f}" for kind, (low, high) in rouge.paired_difference_ci95.items())


def _setting_rows(info: RunInfo) -> str:
    settings = info.recipe.training.model_dump(exclude_none=True)
    if info.recipe.lora:
        settings |= {f"lora.{key}": value for key, value in info.recipe.lora.model_dump().items()}
    return "\n".join(f"| {key} | {value} |" for key, value in settings.items())


def write_samples(
    documents: list[str], base: list[str], finetuned: list[str], references: list[str], folder: Path
) -> None:
    """Writes samples.md into `folder`: both models' summaries of ten documents.

    The documents are spread evenly over the range from the largest loss to the largest gain in ROUGE-L.
    """
    before, after = (rouge_by_document(summaries, references)["rougeL"] for summaries in (base, finetuned))
    ranked = np.argsort(after - before, kind="stable")
    sample = ranked[np.unique(np.linspace(0, len(ranked) - 1, SAMPLES).round().astype(int))]
    lines = [
        "# Summaries of base and fine-tuned model",
        "",
        "Sorted from the largest loss in ROUGE-L to the largest gain.",
    ]
    for i in sample:
        lines += ["", f"## ROUGE-L {before[i]:.1f} → {after[i]:.1f}", "", f"> {_shortened(documents[i])}", ""]
        rows = {"reference": references[i], "base": base[i], "fine-tuned": finetuned[i]}
        lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows.items())]
    write_text(folder / "samples.md", "\n".join(lines) + "\n")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]} …"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
