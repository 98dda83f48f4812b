"""One whole fine-tuning run: base scored, adapter trained, merged, scored again, all written at once."""

import os
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from transformers import PreTrainedModel, set_seed
from transformers.utils import logging

from finetune import provenance
from finetune.data.loading import load_pairs
from finetune.data.report import report, show, write
from finetune.data.tokenizing import tokenized
from finetune.errors import UserError
from finetune.evaluation.extractive import with_extracts
from finetune.evaluation.rouge import rouge_by_document
from finetune.evaluation.scoring import compare, generation_config, summarize
from finetune.files import replaced_folder, write_json
from finetune.recipe import Recipe
from finetune.reports.card import write_card, write_samples
from finetune.reports.plots import training_curve
from finetune.reports.progress import console
from finetune.training import checkpoints
from finetune.training.failures import full_disk_told
from finetune.training.merging import merge
from finetune.training.meters import EnergyMeter, MemoryMeter
from finetune.training.train import add_adapter, load_base, load_base_in_4bit, train


def fit(recipe: Recipe) -> Path:
    """Runs `recipe` and returns its folder: adapter/, merged/, rouge.json, summaries.json (of all validation
    documents), run.json, README.md (the model's card), samples.md, data.md, training.png, data.png, tensorboard/.

    The folder is replaced when all is done; bundles that lie in it stay until an export replaces them. A run that
    was killed goes on from its last checkpoint. Under `accelerate launch` all processes call this; the first one
    speaks and writes. Raises UserError.
    """
    logging.set_verbosity_error()
    output = Path(recipe.output)
    if output.exists() and not (output / "run.json").is_file():
        raise UserError(f"output: {output} is there already and is not a run of Precis; name another folder.")
    processes = PartialState(cpu=not torch.cuda.is_available())
    console.quiet = not processes.is_main_process
    with full_disk_told(output):
        _fit(recipe, output, processes)
    return output


def _fit(recipe: Recipe, output: Path, processes: PartialState) -> None:
    began = time.perf_counter()
    pairs = load_pairs(recipe.data, recipe.training.seed)
    network, tokenizer = load_base(recipe.model)
    network.to(processes.device)
    set_seed(recipe.training.seed)
    train_pairs, extracts = pairs.train, 0
    if recipe.data.extractive_share:
        train_pairs, extracts = with_extracts(
            pairs.train,
            recipe.data.extractive_share,
            tokenizer,
            recipe.model.prefix,
            recipe.data.max_document_tokens,
        )
    train_set, cut = tokenized(train_pairs, tokenizer, recipe)
    validation_set, _ = tokenized(pairs.validation, tokenizer, recipe)
    encoded = {"train": train_set, "validation": validation_set}
    found = report(pairs, encoded, recipe.data)
    show(found)
    counts = {
        "train_pairs": len(train_set),
        "validation_pairs": len(validation_set),
        "left_out_empty": pairs.left_out,
        "extracts": extracts,
        "train_cut": cut,
        "report": found.as_dict(),
    }
    if extracts:
        console.print(f"{extracts} training targets are source sentences (data.extractive_share).")
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    info = {
        "recipe": recipe.model_dump(),
        "base_model": provenance.base_model(recipe, network),
        "data": {**provenance.data_set(recipe, pairs.revision), **counts},
    }
    network.generation_config = generation_config(recipe, network)
    before = summarize(network, tokenizer, documents, recipe, "summaries of the base")

    if recipe.model.load_in_4bit:
        network = load_base_in_4bit(recipe.model)
    model = add_adapter(network, recipe.lora) if recipe.lora else network
    trained_parameters, total = _parameters(model)
    method = f"LoRA rank {recipe.lora.rank}" if recipe.lora else "Full fine-tuning"
    console.print(f"{method}: {trained_parameters:,} of {total:,} parameters are trained")

    def score(candidate: torch.nn.Module) -> dict[str, float]:
        summaries = summarize(candidate, tokenizer, documents, recipe, "summaries so far")
        return {kind: float(values.mean()) for kind, values in rouge_by_document(summaries, references).items()}

    folder = checkpoints.folder_of(output)
    resume = _claimed(folder, info, processes)
    if resume:
        console.print(f"Going on from step {checkpoints.step_of(resume)}, where an earlier run of this was cut off.")
    started, energy, memory = time.perf_counter(), EnergyMeter(), MemoryMeter()
    with checkpoints.kept_if_any(folder):
        trained = train(
            model,
            tokenizer,
            train_set,
            validation_set,
            recipe,
            folder,
            resume,
            score if recipe.training.metric != "loss" else None,
        )
    seconds = time.perf_counter() - started
    adapted = trained.network
    info |= {
        "trained_parameters": trained_parameters,
        "training_seconds": round(seconds, 1),
        "training_steps": trained.steps,
        "best_step": trained.best_step,
        "resumed_from_step": checkpoints.step_of(resume) if resume else None,
        "tokens_per_second": round(trained.tokens / max(trained.seconds, 1e-9), 1),
        "peak_memory_mib": memory.peak_mib(),
        "processes": processes.num_processes,
        "energy": energy.used(),
        "hardware": provenance.hardware(),
        "git_commit": provenance.git_commit(),
        "versions": provenance.versions(),
        "log": trained.log,
    }
    with replaced_folder(output) if processes.is_main_process else nullcontext() as place:
        if place and recipe.lora:
            adapted.save_pretrained(place / "adapter")
        merged = adapted
        if isinstance(adapted, PeftModel):
            merged, info["merge_max_logit_difference"] = merge(adapted, tokenizer, documents, references, recipe)
        merged.generation_config = generation_config(recipe, merged)
        after = summarize(merged, tokenizer, documents, recipe, "summaries of the fine-tuned model")
        if not place:
            return
        merged.save_pretrained(place / "merged")
        tokenizer.save_pretrained(place / "merged")
        rouge = compare(documents, before, after, references, recipe)
        write_json(place / "rouge.json", rouge)
        write_json(place / "summaries.json", {"reference": references, "base": before, "finetuned": after})
        training_curve(trained.log, place / "training.png")
        write(found, encoded, recipe.data, place)
        shutil.copytree(folder / "tensorboard", place / "tensorboard")
        info["total_seconds"] = round(time.perf_counter() - began, 1)
        write_json(place / "run.json", info)
        write_samples(documents, {"base": before, "finetuned": after}, references, place)
        write_card(info, rouge, place)
        for bundle in output.glob("bundle*"):
            shutil.copytree(bundle, place / bundle.name, copy_function=os.link)
    shutil.rmtree(folder)
    _report(rouge, seconds)


def _claimed(folder: Path, info: dict, processes: PartialState) -> Path | None:
    """The checkpoint that a run of the same recipe, base and data left behind, the same for all processes."""
    shaping = {key: info["recipe"][key] for key in ("model", "data", "lora", "training")}
    shaping["training"] = {key: value for key, value in shaping["training"].items() if key != "checkpoint_seconds"}
    run = {**shaping, "base": info["base_model"], "set": info["data"], "processes": processes.num_processes}
    found = [checkpoints.claim(folder, run) if processes.is_main_process else None]
    broadcast_object_list(found)
    return found[0]


def _parameters(model: PreTrainedModel | PeftModel) -> tuple[int, int]:
    """How many parameters are trained, and how many there are."""
    if isinstance(model, PeftModel):
        return model.get_nb_trainable_parameters()
    return model.num_parameters(only_trainable=True), model.num_parameters()


def _report(rouge: dict, seconds: float) -> None:
    console.print(f"Trained in {seconds:.0f} s. ROUGE F1 on {rouge['documents']} validation documents, 95% intervals:")
    for system in ("lead", "base", "finetuned"):
        scores = ", ".join(
            f"{kind} {rouge[system][kind]:.2f} [{low:.2f}, {high:.2f}]"
            for kind, (low, high) in rouge[system]["ci95"].items()
        )
        console.print(f"  {system:<9} {scores}", highlight=False)
    gains = ", ".join(
        f"{kind} [{low:+.2f}, {high:+.2f}]" for kind, (low, high) in rouge["paired_difference_ci95"].items()
    )
    console.print(f"  finetuned - base, paired: {gains}", highlight=False)
