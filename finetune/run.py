"""One whole fine-tuning run: base scored, adapter trained, merged, scored again, all written at once."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import torch
from transformers import set_seed
from transformers.utils import logging

from finetune import provenance
from finetune.data import load_pairs
from finetune.errors import UserError
from finetune.extractive import with_extracts
from finetune.files import replaced_folder, write_json
from finetune.plots import training_curve
from finetune.progress import console
from finetune.recipe import Recipe
from finetune.scoring import compare, generation_config, summarize
from finetune.training import add_adapter, load_base, tokenized, train


def fit(recipe: Recipe) -> Path:
    """Runs `recipe` and returns its folder with adapter/, merged/, rouge.json, run.json and training.png.

    The folder is replaced when all is done; bundles that lie in it stay until an export replaces them.
    Raises UserError.
    """
    logging.set_verbosity_error()
    output = Path(recipe.output)
    if output.exists() and not (output / "run.json").is_file():
        raise UserError(f"output: {output} is there already and is not a run of Precis; name another folder.")
    began = time.perf_counter()
    pairs = load_pairs(recipe.data, recipe.training.seed)
    network, tokenizer = load_base(recipe.model)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
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
    counts = {
        "train_pairs": len(train_set),
        "validation_pairs": len(validation_set),
        "left_out_empty": pairs.left_out,
        "extracts": extracts,
        "train_cut": cut,
    }
    console.print(
        f"{len(train_set)} pairs to train on, {len(validation_set)} to validate; longer than the limits: "
        f"{cut['documents']} documents, {cut['summaries']} summaries; left out as empty: {sum(pairs.left_out.values())}"
    )
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    info = {
        "recipe": recipe.model_dump(),
        "base_model": provenance.base_model(recipe, network),
        "data": {**provenance.data_set(recipe), **counts},
    }
    before = summarize(network, tokenizer, documents, recipe, "summaries of the base")

    model = add_adapter(network, recipe.lora)
    trained, total = model.get_nb_trainable_parameters()
    console.print(f"LoRA rank {recipe.lora.rank}: {trained:,} of {total:,} parameters are trained")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        log = train(model, tokenizer, train_set, validation_set, recipe, Path(scratch))
    seconds = time.perf_counter() - started

    with replaced_folder(output) as folder:
        model.save_pretrained(folder / "adapter")
        merged = model.merge_and_unload()
        merged.generation_config = generation_config(recipe, merged)
        merged.save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
        after = summarize(merged, tokenizer, documents, recipe, "summaries of the fine-tuned model")
        rouge = compare(documents, before, after, references, recipe)
        write_json(folder / "rouge.json", rouge)
        training_curve(log, folder / "training.png")
        info |= {
            "trained_parameters": trained,
            "training_seconds": round(seconds, 1),
            "total_seconds": round(time.perf_counter() - began, 1),
            "hardware": provenance.hardware(),
            "git_commit": provenance.git_commit(),
            "versions": provenance.versions(),
            "log": log,
        }
        write_json(folder / "run.json", info)
        for bundle in output.glob("bundle*"):
            shutil.copytree(bundle, folder / bundle.name, copy_function=os.link)
    _report(rouge, seconds)
    return output


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
