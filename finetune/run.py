"""A fine-tuning run from recipe to folder: scores the base, trains, merges, scores again, and writes everything."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

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
from finetune.data.sentence_targets import RankedPair, ranked_pairs, use_sentence_targets
from finetune.data.tokenizing import tokenize_pairs
from finetune.errors import UserError
from finetune.evaluation.rouge import rouge_by_document
from finetune.evaluation.scoring import generation_config, rouge_report, summarize
from finetune.evaluation.sentence_ranker import read_ranker, write_ranker
from finetune.files import locked, replaced_folder, write_json
from finetune.recipe import Recipe
from finetune.reports.card import write_card, write_samples
from finetune.reports.plots import training_curve
from finetune.reports.progress import console
from finetune.run_info import ROUGE_FILE, RUN_FILE, RunInfo, TrainingData, write_run
from finetune.training import checkpoints
from finetune.training.failures import check_writable, disk_errors_as_user_errors
from finetune.training.merging import merge
from finetune.training.meters import MemoryMeter
from finetune.training.model import add_adapter, load_base, load_base_in_4bit
from finetune.training.preconditions import check_model
from finetune.training.sentence_ranker_fit import fit_features, fit_sentence_ranker
from finetune.training.train import train
from precis.bundle.manifest import BaseModelSource
from precis.bundle.reports import RougeReport, Scores


def fit(recipe: Recipe) -> Path:
    """Runs `recipe` and returns the run's folder.

    The folder holds adapter/, merged/, tensorboard/, rouge.json, summaries.json (of all validation documents),
    run.json, README.md (the model card), samples.md, data.md, data.png and training.png. It replaces an earlier run's
    folder at the end, and keeps that run's bundles until an export replaces them. A run that was killed resumes from
    its last checkpoint. Under `accelerate launch` all processes call this function; only the first one prints and
    writes. Raises UserError, also if another run into the same folder is under way.
    """
    logging.set_verbosity_error()
    output = recipe.output_folder
    if output.exists() and not (output / RUN_FILE).is_file():
        raise UserError(f"output: {output} is there already and is not a run of Precis; name another folder.")
    check_writable(output)
    processes = PartialState(cpu=not torch.cuda.is_available())
    console.quiet = not processes.is_main_process
    lock = output.with_name(f".{output.name}.lock")
    busy = f"output: another run writes {output} now; wait for it, or name another folder."
    with (
        disk_errors_as_user_errors(output),
        locked(lock, busy) if processes.is_main_process else nullcontext(),
    ):
        _fit(recipe, output, processes)
    return output


def _fit(recipe: Recipe, output: Path, processes: PartialState) -> None:
    started = time.perf_counter()
    check_model(recipe)
    pairs = load_pairs(recipe.data, recipe.training.seed)
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    _check_metric(recipe.training.metric, references)
    base, tokenizer = load_base(recipe.model)
    base.to(processes.device)
    set_seed(recipe.training.seed)
    examples = ranked_pairs(pairs.train, tokenizer, recipe) if recipe.training.objective == "extract" else []
    train_set, validation_set, data = _prepare_data(pairs, examples, tokenizer, recipe)
    ranker = read_ranker(recipe.model.name)
    source = provenance.base_model(recipe, base)
    base.generation_config = generation_config(recipe, base)
    summaries = {
        "reference": references,
        "base": summarize(base, tokenizer, documents, recipe, "summaries of the base", ranker),
    }

    def score(candidate: PreTrainedModel) -> dict[str, float]:
        now = fit_sentence_ranker(candidate, examples, ranker) if examples else None
        texts = summarize(candidate, tokenizer, documents, recipe, "summaries so far", now)
        scores = rouge_by_document(texts, references)
        return {kind: float(values.mean()) for kind, values in scores.items()}

    model = _add_trainable_weights(base, recipe)
    checkpoint_folder = checkpoints.checkpoint_folder(output)
    checkpoint = _find_checkpoint(checkpoint_folder, recipe, source, data, processes)
    memory, training_started = MemoryMeter(), time.perf_counter()
    scorer = score if recipe.training.metric != "loss" else None
    with checkpoints.remove_if_no_checkpoint(checkpoint_folder):
        result = train(model, tokenizer, train_set, validation_set, recipe, checkpoint_folder, checkpoint, scorer)
    adapter = checkpoint_folder / "adapter"
    if recipe.lora and processes.is_main_process:
        # Before anything that could fail: what comes next may need disk space, memory or the base once more.
        result.model.save_pretrained(str(adapter))
    info = RunInfo(
        recipe=recipe,
        base_model=source,
        data=data,
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
    with (
        _kept_after_failure(checkpoint_folder),
        replaced_folder(output) if processes.is_main_process else nullcontext() as folder,
    ):
        _check_scores(recipe.training.metric, result.log)
        if folder and recipe.lora:
            shutil.copytree(adapter, folder / "adapter")
        merged, merge_figures = _merge(result.model, tokenizer, documents, references, recipe)
        fitted = fit_sentence_ranker(merged, examples, ranker) if examples else None
        title = "summaries of the fine-tuned model"
        summaries["finetuned"] = summarize(merged, tokenizer, documents, recipe, title, fitted)
        if not folder:
            return
        merged.save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
        if fitted:
            write_ranker(fitted, folder / "merged")
        seconds = round(time.perf_counter() - started, 1)
        info = info.model_copy(update={**merge_figures, "total_seconds": seconds})
        rouge = _write_reports(info, documents, summaries, train_set, folder)
        shutil.copytree(checkpoint_folder / "tensorboard", folder / "tensorboard")
        for bundle in output.glob("bundle*"):
            shutil.copytree(bundle, folder / bundle.name, copy_function=os.link)
    shutil.rmtree(checkpoint_folder)
    _print_scores(rouge, info.training_seconds)


@contextmanager
def _kept_after_failure(folder: Path) -> Iterator[None]:
    """Says where the trained weights are if the block fails."""
    try:
        yield
    except BaseException:
        console.print(f"Training is done and its weights are kept in {folder}; the same command goes on from there.")
        raise


def _check_metric(metric: str, references: list[str]) -> None:
    """Raises UserError if ROUGE finds no words in the references, so that it is 0 for every model."""
    if metric != "loss" and not any(rouge_by_document(references, references)[metric]):
        raise UserError(f"training.metric: {metric} finds no words in the validation summaries; use loss.")


def _check_scores(metric: str, log: list[dict[str, float]]) -> None:
    """Raises UserError if the metric was 0 in every evaluation, so that the best one was no choice."""
    if metric != "loss" and not any(row.get(f"eval_{metric}") for row in log):
        raise UserError(f"training.metric: {metric} is 0 in every evaluation and cannot choose the best; use loss.")


def _prepare_data(
    pairs: Pairs, examples: list[RankedPair], tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> tuple[Dataset, Dataset, TrainingData]:
    """Both splits tokenized, the training split with the targets of the recipe's objective, and their description.

    `examples` are those of the objective `extract`, else empty.
    """
    train_pairs = pairs.train
    if examples:
        train_pairs = use_sentence_targets(pairs.train, fit_features(examples), tokenizer, recipe)
    train_set, validation_set = (tokenize_pairs(split, tokenizer, recipe) for split in (train_pairs, pairs.validation))
    report = data_report(pairs, {"train": train_set, "validation": validation_set}, recipe.data)
    print_report(report)
    description = provenance.data_source(recipe, pairs).model_dump(exclude_unset=True) | {
        "train_pairs": len(train_set),
        "validation_pairs": len(validation_set),
        "skipped_empty": pairs.dropped,
        "train_cut": {"documents": report.splits.train.documents_cut, "summaries": report.splits.train.summaries_cut},
        "report": report,
    }
    return train_set, validation_set, TrainingData.model_validate(description)


def _add_trainable_weights(base: PreTrainedModel, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The model to train: the base with an adapter, or the base itself for full fine-tuning."""
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
    run = recipe.model_dump(include={"model", "data", "lora", "training"})
    del run["training"]["checkpoint_seconds"]  # does not change the weights
    run |= {
        "base": base.model_dump(),
        "set": data.model_dump(exclude={"revision"}),
        "processes": processes.num_processes,
    }
    shared = [checkpoints.find_checkpoint(folder, run) if processes.is_main_process else None]
    broadcast_object_list(shared)
    if checkpoint := shared[0]:
        console.print(f"Resuming from step {checkpoints.step_of(checkpoint)} of an interrupted run.")
    return shared[0]


def _merge(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: list[str],
    references: list[str],
    recipe: Recipe,
) -> tuple[PreTrainedModel, dict[str, float | None]]:
    """The merged model, and what run.json says of the merge: nothing after full fine-tuning."""
    figures: dict[str, float | None] = {}
    if isinstance(model, PeftModel):
        model, difference = merge(model, tokenizer, documents, references, recipe)
        figures = {"merge_max_logit_difference": difference.max_abs, "merge_max_logit": difference.max_logit}
    model.generation_config = generation_config(recipe, model)
    return model, figures


def _write_reports(
    info: RunInfo, documents: list[str], summaries: dict[str, list[str]], train_set: Dataset, folder: Path
) -> RougeReport:
    """Writes everything about the run except the weights, and returns the content of rouge.json."""
    references, base, finetuned = (summaries[system] for system in ("reference", "base", "finetuned"))
    rouge = rouge_report(documents, base, finetuned, references, info.recipe)
    write_run(info, folder)
    write_json(folder / ROUGE_FILE, rouge.model_dump(mode="json"))
    write_json(folder / "summaries.json", summaries)
    training_curve(info.log, folder / "training.png")
    if info.data.report:
        write_report(info.data.report, train_set, info.recipe.data, folder)
    write_samples(documents, base, finetuned, references, folder)
    write_card(info, rouge, folder)
    return rouge


def _print_scores(rouge: RougeReport, seconds: float) -> None:
    console.print(f"Trained in {seconds:.0f} s. ROUGE F1 on {rouge.documents} validation documents, 95% intervals:")
    for system in ("lead", "base", "finetuned"):
        scores: Scores = getattr(rouge, system)
        cells = [
            f"{kind} {getattr(scores, kind):.2f} [{low:.2f}, {high:.2f}]" for kind, (low, high) in scores.ci95.items()
        ]
        console.print(f"  {system:<9} {', '.join(cells)}", highlight=False)
    differences = [f"{kind} [{low:+.2f}, {high:+.2f}]" for kind, (low, high) in rouge.paired_difference_ci95.items()]
    console.print(f"  finetuned - base, paired: {', '.join(differences)}", highlight=False)
