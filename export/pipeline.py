"""The export of a run from start to end: checks, the fine-tuned model's bundles, and on request the base model's."""

import shutil
from dataclasses import replace
from pathlib import Path

from transformers.utils import logging

from export.checks import Run, check_gain, load_adapted, load_merged, open_run
from export.documents import Documents, select_documents
from export.exporter import FAILED_FOLDER, BundleExporter, scratch_folder
from export.options import PRECISIONS, Options
from export.parity.systems import PyTorchSystem, Target
from export.trust.labels import read_labels
from finetune.data.loading import load_pairs
from finetune.errors import UserError
from finetune.evaluation.scoring import generation_config
from finetune.evaluation.sentence_ranker import read_ranker, write_ranker
from finetune.reports.card import write_card
from finetune.reports.progress import console
from finetune.training.model import load_base


def make_bundles(folder: Path, options: Options) -> list[Path]:
    """Exports the run in `folder` and returns the folders of its bundles.

    Raises UserError or EngineError at the first bundle that cannot be written or proved; the previous one is kept.
    """
    logging.set_verbosity_error()
    run = open_run(folder)
    check_gain(run, options.accept_worse)
    shutil.rmtree(folder / FAILED_FOLDER, ignore_errors=True)
    documents = select_documents(load_pairs(run.recipe.data, run.recipe.training.seed), run.recipe.export)
    if options.labels:
        documents = replace(documents, judged=read_labels(options.labels))
    target = Target(options.device or run.recipe.export.device, options.allow_cpu_fallback)
    bundles = _export_fine_tuned(run, documents, target, options)
    if options.base:
        bundles += _export_base(run, documents, target)
    return bundles


def _export_fine_tuned(run: Run, documents: Documents, target: Target, options: Options) -> list[Path]:
    model, tokenizer = load_merged(run)
    ranker = read_ranker(run.folder / "merged")
    pytorch = [PyTorchSystem("merged", model, tokenizer, run.recipe, ranker)]
    if run.recipe.lora:
        adapted = load_adapted(run, tokenizer)
        pytorch.insert(0, PyTorchSystem("base + adapter", adapted, tokenizer, run.recipe, ranker))
    exporter = BundleExporter(run, run.folder / "merged", pytorch, documents, target)
    bundles = exporter.export(sorted(set(options.precisions or run.recipe.export.precision), key=PRECISIONS.index))
    if run.info.data.report is not None:  # a run that was not trained has no data to describe
        write_card(run.info, run.rouge, run.folder, exporter.certificates)
    return bundles


def _export_base(run: Run, documents: Documents, target: Target) -> list[Path]:
    """The int8 bundle of the base before fine-tuning; none, with a warning, if it cannot be made.

    Only the page's comparison of both models uses it.
    """
    with scratch_folder(run.folder, "base") as scratch:
        model, tokenizer = load_base(run.recipe.model)
        model.generation_config = generation_config(run.recipe, model)
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        ranker = read_ranker(run.recipe.model.name)
        if ranker:
            write_ranker(ranker, scratch)
        pytorch = [PyTorchSystem("base", model, tokenizer, run.recipe, ranker)]
        try:
            return BundleExporter(run, scratch, pytorch, documents, target, base=True).export(["int8"])
        except UserError as error:
            console.print(f"[yellow]No bundle of the base before fine-tuning. {error}", highlight=False)
            return []
