"""Writes a run's model card and its samples of summaries."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from huggingface_hub import ModelCard, ModelCardData

from finetune.evaluation.rouge import KINDS, TOKENIZATION, rouge_by_document
from finetune.files import write_text
from finetune.run_info import RunInfo
from precis.bundle.reports import RougeReport, TrustCertificate

TEMPLATE = Path(__file__).with_name("card.md.jinja")
SAMPLES = 10
SAMPLE_CHARACTERS = 400  # of each document


def write_card(info: RunInfo, rouge: RougeReport, folder: Path, certificates: Sequence[TrustCertificate] = ()) -> None:
    """Writes the card as README.md into the run's `folder` and its adapter/ and merged/.

    The export writes it again, with the `certificates` of trust.
    """
    metadata = ModelCardData(
        # The hub refuses a path here; of a folder's weights the hash is known.
        base_model=None if info.base_model.sha256 else info.base_model.name,
        datasets=[info.data.name] if info.data.name else None,
        library_name="transformers",
        metrics=["rouge"],
        pipeline_tag="summarization",
        tags=["summarization", "t5", "lora" if info.recipe.lora else "full-fine-tuning"],
    )
    card = ModelCard.from_template(
        metadata,
        str(TEMPLATE),
        info=info,
        rouge=rouge,
        kinds=KINDS,
        tokenization=TOKENIZATION,
        certificates=certificates,
    )
    for path in (folder, folder / "adapter", folder / "merged"):
        if path.is_dir():
            write_text(path / "README.md", str(card).rstrip("\n") + "\n")


def write_samples(
    documents: list[str], base: list[str], finetuned: list[str], references: list[str], folder: Path
) -> None:
    """Writes samples.md into `folder`: both models' summaries of ten documents.

    The documents are spread evenly over the range from the largest loss to the largest gain in ROUGE-L.
    """
    before, after = (rouge_by_document(summaries, references)["rougeL"] for summaries in (base, finetuned))
    ranked = np.argsort(after - before, kind="stable")
    sample = ranked[np.unique(np.linspace(0, len(ranked) - 1, SAMPLES).round().astype(int))]
    lines = ["# Summaries of base and fine-tuned model", "", "From the largest loss in ROUGE-L to the largest gain."]
    for i in sample:
        document = " ".join(documents[i].split())
        if len(document) > SAMPLE_CHARACTERS:
            document = f"{document[:SAMPLE_CHARACTERS]} …"
        lines += ["", f"## ROUGE-L {before[i]:.1f} → {after[i]:.1f}", "", f"> {document}", "", "| | |", "|---|---|"]
        rows = {"reference": references[i], "base": base[i], "fine-tuned": finetuned[i]}
        lines += [f"| {name} | {_table_cell(text)} |" for name, text in rows.items()]
    write_text(folder / "samples.md", "\n".join(lines) + "\n")


def _table_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
