"""A run's model card and its summaries side by side, written from what the run measured and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from finetune.evaluation.rouge import KINDS, rouge_by_document
from finetune.files import write_text

SAMPLES = 10
SYSTEMS = {"lead": "first sentence of the document", "base": "base, not fine-tuned", "finetuned": "this model"}


def write_card(info: dict[str, Any], rouge: dict[str, Any], place: Path) -> None:
    """README.md of the run `place` and of its adapter/ and merged/, from run.json's and rouge.json's contents."""
    text = card(info, rouge)
    for folder in (place, place / "adapter", place / "merged"):
        if folder.is_dir():
            write_text(folder / "README.md", text)


def card(info: dict[str, Any], rouge: dict[str, Any]) -> str:
    """The card in Markdown with the hub's metadata on top."""
    recipe, base, data = info["recipe"], info["base_model"], info["data"]
    name = Path(recipe["output"]).name
    on_hub = data.get("name")
    metadata = {
        "base_model": base["name"],
        "library_name": "transformers",
        "pipeline_tag": "summarization",
        "tags": ["summarization", "t5", "lora" if recipe["lora"] else "full-fine-tuning"],
        "metrics": ["rouge"],
        **({"datasets": [on_hub]} if on_hub else {}),
    }
    scores = "\n".join(
        f"| {title} | " + " | ".join(_score(rouge[system], kind) for kind in KINDS) + " |"
        for system, title in SYSTEMS.items()
    )
    gains = ", ".join(
        f"{kind} {low:+.2f} to {high:+.2f}" for kind, (low, high) in rouge["paired_difference_ci95"].items()
    )
    split = data["report"]["splits"]["train"]
    settings = {**recipe["training"], **{f"lora.{key}": value for key, value in (recipe["lora"] or {}).items()}}
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items() if value is not None)
    return f"""---
{yaml.safe_dump(metadata, sort_keys=False).strip()}
---

# {name}

{base["name"]} ({_revision(base)}) fine-tuned to summarize, by {"LoRA" if recipe["lora"] else "full fine-tuning"}.
Put `{recipe["model"]["prefix"]}` before the text (the prefix is part of what it learned).

## Data

{on_hub or data["train"]} ({data.get("commit") or "a file of its maker's"}): {data["train_pairs"]:,} pairs to train on,
{data["validation_pairs"]:,} to validate, {sum(data["left_out_empty"].values()):,} left out as empty. Language (a guess): \
{split["language"]}.
Documents have {split["document_tokens"][0]:,} tokens (median), {split["documents_cut"] / split["pairs"]:.0%} were cut at \
{recipe["data"]["max_document_tokens"]:,}; summaries {split["summary_tokens"][0]}, {split["summaries_cut"]:,} were cut at
{recipe["data"]["max_summary_tokens"]}. {data["report"]["leaks"]:,} validation documents stood in the training set as well. \
{data["extracts"]:,} training targets were source sentences.

## ROUGE

F1, stemmed, in points, with 95% bootstrap intervals over {rouge["documents"]:,} documents of `{rouge["split"]}`, all systems
on the same documents; search: {_search(rouge["generation"])}.

| | {" | ".join(KINDS)} |
|---|{"---|" * len(KINDS)}
{scores}

Gain over the base, 95% interval of the paired bootstrap: {gains}.

## Training

{info["training_steps"]:,} steps, the weights of step {info["best_step"]:,} kept; {info["trained_parameters"]:,} parameters trained;
{info["training_seconds"]:,.0f} s on {info["hardware"]} ({info["processes"]} process{"es" if info["processes"] > 1 else ""}), \
{info["tokens_per_second"]:,.0f} tokens a second, {info["peak_memory_mib"]:,} MiB at the peak; energy: \
{info["energy"] or "not known"}.

| setting | value |
|---|---|
{rows}

Versions: {", ".join(f"{library} {version}" for library, version in info["versions"].items())}.

## Limits

ROUGE counts words in common with one reference; it says nothing about truth. A summary can turn a name, a number or a
denial round and score well: have someone read what matters. The model knows the manner of its training pairs, and gets worse
with texts unlike them, in other languages, or longer than what it read. Nothing was measured about bias, and no licence is
stated here: it follows from the base's, the data's and your own choice.
"""


def _score(system: dict[str, Any], kind: str) -> str:
    low, high = system["ci95"][kind]
    return f"{system[kind]:.2f} [{low:.2f}, {high:.2f}]"


def _revision(base: dict[str, Any]) -> str:
    if base["revision"]:
        return f"revision {base['revision']}"
    return f"weights' SHA-256 {base['sha256'][:12]}…" if base["sha256"] else "no revision"


def _search(generation: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in generation.items() if value is not None)


def write_samples(documents: list[str], systems: dict[str, list[str]], references: list[str], place: Path) -> None:
    """samples.md in `place`: documents from the one that lost most ROUGE-L to the one that gained most."""
    before, after = (rouge_by_document(systems[name], references)["rougeL"] for name in ("base", "finetuned"))
    ranked = np.argsort(after - before, kind="stable")
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, SAMPLES).round().astype(int))]
    parts = ["# Summaries side by side", "", "From the document whose ROUGE-L fell most to the one whose rose most."]
    for i in chosen:
        parts += ["", f"## ROUGE-L {before[i]:.1f} → {after[i]:.1f}", "", f"> {_short(documents[i])}", ""]
        rows = {"reference": references[i], "base": systems["base"][i], "fine-tuned": systems["finetuned"][i]}
        parts += ["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows.items())]
    write_text(place / "samples.md", "\n".join(parts) + "\n")


def _short(text: str, letters: int = 400) -> str:
    text = " ".join(text.split())
    return text if len(text) <= letters else f"{text[:letters]} …"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
