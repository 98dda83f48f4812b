"""A fine-tuning run from recipe to folder: scores the base, trains, merges, scores again, and writes everything."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging

from finetune import provenance
from finetune.data.loading import Pairs, load_pairs
from finetune.data.report import data_report, print_report, write_report
from finetune.data.tokenizing import tokenize_pairs
from finetune.errors import UserError
from finetune.evaluation.extractive import use_extractive_targets
from finetune.evaluation.rouge import rouge_by_document
from finetune.evaluation.scoring import generation_config, rouge_report, summarize
from finetune.files import replaced_folder, write_json
from finetune.recipe import Recipe
from finetune.reports.card import write_card, write_samples
from finetune.reports.plots import training_curve
from finetune.reports.progress import console
from finetune.run_info import ROUGE_FILE, RUN_FILE, DataReport, RunInfo, TrainingData, TruncationCounts, write_run
from finetune.training import checkpoints
from finetune.training.failures import disk_full_as_user_error
from finetune.training.merging import merge
from finetune.training.meters import MemoryMeter
from finetune.training.model import add_adapter, load_base, load_base_in_4bit
from finetune.training.train import TrainingResult, train
from precis.bundle.manifest import BaseModelSource
from precis.bundle.reports import RougeReport, Scores


@dataclass(frozen=True)
class RunData:
    """The tokenized splits, the texts of the validation pairs, and what run.json says about the data."""

    train: Dataset
    validation: Dataset
    documents: list[str]
    references: list[str]
    report: DataReport
    info: TrainingData


@dataclass(frozen=True)
class Summaries:
    """The summaries of the validation documents by the base and by the fine-tuned model."""

    base: list[str]
    finetuned: list[str]


def fit(recipe: Recipe) -> Path:
    """Runs `recipe` and returns the run's folder.

    The folder holds adapter/, merged/, tensorboard/, rouge.json, summaries.json (of all validation documents),
    run.json, README.md (the model card), samples.md, data.md, data.png and training.png. It replaces an earlier run's
    folder at the end, and keeps that run's bundles until an export replaces them. A run that was killed resumes from
    its last checkpoint. Under `accelerate launch` all processes call this function; only the first one prints and
    writes. Raises UserError.
    """
    logging.set_verbosity_error()
    output = recipe.output_folder
    if output.exists() and not (output / RUN_FILE).is_file():
        raise UserError(f"output: {output} is there already and is not a run of Precis; name another folder.")
    processes = PartialState(cpu=not torch.cuda.is_available())
    console.quiet = not processes.is_main_process
    with disk_full_as_user_error(output):
        _fit(recipe, output, processes)
    return output


def _fit(recipe: Recipe, output: Path, processes: PartialState) -> None:
    started = time.perf_counter()
    pairs = load_pairs(recipe.data, recipe.training.seed)
    base, tokenizer = load_base(recipe.model)
    base.to(processes.device)
    set_seed(recipe.training.seed)
    data = _prepare_data(pairs, tokenizer, recipe)
    print_report(data.report)
    source = provenance.base_model(recipe, base)
    base.generation_config = generation_config(recipe, base)
    base_summaries = summarize(base, tokenizer, data.documents, recipe, "summaries of the base")

    model = _add_trainable_weights(base, recipe)
    checkpoint_folder = checkpoints.checkpoint_folder(output)
    checkpoint = _find_checkpoint(checkpoint_folder, recipe, source, data.info, processes)
    memory, training_started = MemoryMeter(), time.perf_counter()
    with checkpoints.remove_if_no_checkpoint(checkpoint_folder):
        score = _scorer(tokenizer, data, recipe) if recipe.training.metric != "loss" else None
        result = train(model, tokenizer, data.train, data.validation, recipe, checkpoint_folder, checkpoint, score)
    info = RunInfo(
        recipe=recipe,
        base_model=source,
        data=data.info,
        hardware=provenance.hardware(),
        git_commit=provenance.git_commit(),
        versions=provenance.versions(),
        training_seconds=round(time.perf_counter() - training_started, 1),
        trained_parameters=_parameter_counts(model)[0],
        training_steps=result.steps,
        best_step=result.best_step,
        resumed_from_step=checkpoints.step_of(checkpoint) if checkpoint else None,
        tokens_per_second=round(result.tokens / max(result.seconds, 1e-9), 1),
        peak_memory_mib=memory.peak_mib(),
        processes=processes.num_processes,
        log=result.log,
    )
    with replaced_folder(output) if processes.is_main_process else nullcontext() as folder:
        if folder and recipe.lora:
            result.model.save_pretrained(str(folder / "adapter"))
        merged, difference = _merge(result, tokenizer, data, recipe)
        finetuned_summaries = summarize(merged, tokenizer, data.documents, recipe, "summaries of the fine-tuned model")
        if not folder:
            return
        info = info.model_copy(
            update={
                "merge_max_logit_difference": difference,
                "total_seconds": round(time.perf_counter() - started, 1),
            }
        )
        merged.save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
        rouge = _write_reports(info, data, Summaries(base_summaries, finetuned_summaries), folder)
        shutil.copytree(checkpoint_folder / "tensorboard", folder / "tensorboard")
        for bundle in output.glob("bundle*"):
            shutil.copytree(bundle, folder / bundle.name, copy_function=os.link)
    shutil.rmtree(checkpoint_folder)
    _print_scores(rouge, info.training_seconds)


def _prepare_data(pairs: Pairs, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> RunData:
    """Tokenizes both splits, after replacing training targets if data.extractive_share says so."""
    train_pairs, extracts = pairs.train, 0
    if recipe.data.extractive_share:
        train_pairs, extracts = use_extractive_targets(pairs.train, tokenizer, recipe)
        console.print(f"{extracts} training targets are source sentences (data.extractive_share).")
    train_set = tokenize_pairs(train_pairs, tokenizer, recipe)
    validation_set = tokenize_pairs(pairs.validation, tokenizer, recipe)
    report = data_report(pairs, {"train": train_set, "validation": validation_set}, recipe.data)
    source = provenance.data_source(recipe, pairs.revision)
    counts = report.splits.train
    info = TrainingData(
        **{
            **source.model_dump(),
            "train_pairs": len(train_set),
            "validation_pairs": len(validation_set),
            "left_out_empty": pairs.dropped,
            "extracts": extracts,
            "train_cut": TruncationCounts(documents=counts.documents_cut, summaries=counts.summaries_cut),
            "report": report,
        }
    )
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    return RunData(train_set, validation_set, documents, references, report, info)


def _add_trainable_weights(base: PreTrainedModel, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The model to be trained: the base with an adapter, or the base itself in full fine-tuning."""
    if recipe.model.load_in_4bit:
        base = load_base_in_4bit(recipe.model)
    model = add_adapter(base, recipe.lora) if recipe.lora else base
    trained, total = _parameter_counts(model)
    method = f"LoRA rank {recipe.lora.rank}" if recipe.lora else "Full fine-tuning"
    console.print(f"{method}: {trained:,} of {total:,} parameters are trained")
    return model


def _parameter_counts(model: PreTrainedModel | PeftModel) -> tuple[int, int]:
    """The number of trained parameters, and of all parameters."""
    if isinstance(model, PeftModel):
        return model.get_nb_trainable_parameters()
    return model.num_parameters(only_trainable=True), model.num_parameters()


def _find_checkpoint(
    folder: Path, recipe: Recipe, base: BaseModelSource, data: TrainingData, processes: PartialState
) -> Path | None:
    """The checkpoint to resume from, the same for all processes: one of equal recipe, base, data and process count."""
    run: dict[str, Any] = recipe.model_dump(include={"model", "data", "lora", "training"})
    del run["training"]["checkpoint_seconds"]  # does not change the weights
    run |= {"base": base.model_dump(), "set": data.model_dump(), "processes": processes.num_processes}
    found = [checkpoints.find_checkpoint(folder, run) if processes.is_main_process else None]
    broadcast_object_list(found)
    checkpoint = found[0]
    if checkpoint:
        console.print(f"Resuming from step {checkpoints.step_of(checkpoint)} of an interrupted run.")
    return checkpoint


def _scorer(
    tokenizer: PreTrainedTokenizerFast, data: RunData, recipe: Recipe
) -> Callable[[PreTrainedModel], dict[str, float]]:
    """A function that computes the mean ROUGE of a model on the validation documents."""

    def score(model: PreTrainedModel) -> dict[str, float]:
        summaries = summarize(model, tokenizer, data.documents, recipe, "summaries for ROUGE")
        return {kind: float(values.mean()) for kind, values in rouge_by_document(summaries, data.references).items()}

    return score


def _merge(
    result: TrainingResult, tokenizer: PreTrainedTokenizerFast, data: RunData, recipe: Recipe
) -> tuple[PreTrainedModel, float | None]:
    """The merged model and the largest logit difference of the merge; None after full fine-tuning."""
    difference: float | None = None
    if isinstance(result.model, PeftModel):
        merged, difference = merge(result.model, tokenizer, data.documents, data.references, recipe)
    else:
        merged = result.model
    merged.generation_config = generation_config(recipe, merged)
    return merged, difference


def _write_reports(info: RunInfo, data: RunData, summaries: Summaries, folder: Path) -> RougeReport:
    """Writes everything about the run except the weights, and returns the content of rouge.json."""
    recipe, documents, references = info.recipe, data.documents, data.references
    rouge = rouge_report(documents, summaries.base, summaries.finetuned, references, recipe)
    write_run(info, folder)
    write_json(folder / ROUGE_FILE, rouge.model_dump(mode="json"))
    write_json(
        folder / "summaries.json",
        {"reference": references, "base": summaries.base, "finetuned": summaries.finetuned},
    )
    training_curve(info.log, folder / "training.png")
    write_report(data.report, data.train, recipe.data, folder)
    write_samples(documents, summaries.base, summaries.finetuned, references, folder)
    write_card(info, data.report, rouge, folder)
    return rouge


def _print_scores(rouge: RougeReport, seconds: float) -> None:
    console.print(f"Trained in {seconds:.0f} s. ROUGE F1 on {rouge.documents} validation documents, 95% intervals:")
    systems: dict[str, Scores | None] = {"lead": rouge.lead, "base": rouge.base, "finetuned": rouge.finetuned}
    for name, scores in systems.items():
        if scores:
            cells = [
                f"{kind} {getattr(scores, kind):.2f} [{low:.2f}, {high:.2f}]"
                for kind, (low, high) in scores.ci95.items()
            ]
            console.print(f"  {name:<9} {', '.join(cells)}", highlight=False)
    differences = [f"{kind} [{low:+.2f}, {high:+.2f}]" for kind, (low, high) in rouge.paired_difference_ci95.items()]
    console.print(f"  finetuned - base, paired: {', '.join(differences)}", highlight=False)
