"""Makes a run's bundle: export, manifest, parity gate; the bundle appears only when the gate is passed."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from engine import Engine
from engine.bundle import FORMAT, MANIFEST, sha256
from export.onnx_model import write_onnx
from export.parity import Parity, measure
from export.report import write_report
from finetune.data import load_pairs
from finetune.errors import UserError
from finetune.files import replaced_folder, write_json
from finetune.progress import console
from finetune.provenance import git_commit, versions
from finetune.recipe import Recipe, parse_recipe

PARITY_DOCUMENTS = 100
FAILED = "parity-failed"


def make_bundle(run: Path) -> Path:
    """Exports the merged model of `run` to `run`/bundle and proves it; UserError, and no new bundle, if that fails."""
    logging.set_verbosity_error()
    try:
        info = json.loads((run / "run.json").read_text(encoding="utf-8"))
        rouge = json.loads((run / "rouge.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{run} holds no finished run ({error.filename} is missing): run python -m finetune first."
        ) from error
    recipe = parse_recipe(info["recipe"])
    documents, references = _documents(recipe)
    shutil.rmtree(run / FAILED, ignore_errors=True)
    with replaced_folder(run / "bundle") as folder:
        console.print("exporting to ONNX")
        write_onnx(run / "merged", folder)
        manifest = _manifest(run, info, recipe, rouge)
        _seal(folder, manifest)
        parity = _prove(run, folder, documents, references, recipe)
        write_report(parity, run.name, folder)
        write_json(folder / "parity.json", parity.report)
        if not parity.report["passed"]:
            _keep_evidence(run, folder)
            raise UserError(_failure(parity, run))
        _seal(folder, {**manifest, "parity": parity.report})
    _summarize(parity)
    return run / "bundle"


def _documents(recipe: Recipe) -> tuple[list[str], list[str]]:
    """Validation documents and summaries, filled up with training pairs where they are few."""
    pairs = load_pairs(recipe.data, recipe.training.seed)
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    missing = max(0, PARITY_DOCUMENTS - len(documents))
    filling = pairs.train.select(range(min(missing, len(pairs.train))))
    return documents + list(filling["document"]), references + list(filling["summary"])


def _manifest(run: Path, info: dict, recipe: Recipe, rouge: dict) -> dict:
    """Where the bundle comes from and what the engine must know of it."""
    return {
        "format": FORMAT,
        "name": run.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "prefix": recipe.model.prefix,
        "max_input_tokens": recipe.data.max_document_tokens,
        "precision": "fp32",
        "execution_provider": "CPUExecutionProvider",
        "base_model": info["base_model"],
        "data": info["data"],
        "recipe": info["recipe"],
        "lora": info["recipe"]["lora"],
        "trained_on": info["hardware"],
        "training_seconds": info["training_seconds"],
        "git_commit": {"finetune": info["git_commit"], "export": git_commit()},
        "versions": {"finetune": info["versions"], "export": versions()},
        "rouge": rouge,
    }


def _seal(folder: Path, manifest: dict) -> None:
    """Writes the manifest with the hash of every other file in the bundle."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST}
    write_json(folder / MANIFEST, {**manifest, "files": files})


def _prove(run: Path, folder: Path, documents: list[str], references: list[str], recipe: Recipe) -> Parity:
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged", dtype=torch.float32, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    engine = Engine.load(folder)
    try:
        return measure(model, tokenizer, engine, documents, references, recipe)
    finally:
        engine.close()


def _keep_evidence(run: Path, folder: Path) -> None:
    """The report of a failed gate, beside the bundle's place and without anything that could be served."""
    with replaced_folder(run / FAILED) as kept:
        for name in ("parity.json", "parity.md", "parity.png"):
            shutil.copy(folder / name, kept / name)


def _failure(parity: Parity, run: Path) -> str:
    report = parity.report
    reasons = []
    if parity.differing:
        shown = ", ".join(map(str, parity.differing[:10])) + (", ..." if len(parity.differing) > 10 else "")
        reasons.append(f"{len(parity.differing)} of {report['documents']} summaries differ (documents {shown})")
    if report["max_abs_logit_difference"] > report["tolerance"]:
        reasons.append(f"logits differ by {report['max_abs_logit_difference']:.2e}, allowed {report['tolerance']:.0e}")
    return f"Parity failed, no bundle was written: {' and '.join(reasons)}; see {run / FAILED / 'parity.md'}."


def _summarize(parity: Parity) -> None:
    report = parity.report
    console.print(
        f"Parity passed: {report['identical_summaries']} of {report['documents']} summaries identical, "
        f"{report['ties']} ties, "
        f"logits within {report['max_abs_logit_difference']:.1e}, ROUGE-L {report['onnx']['rougeL']:.2f} "
        f"({report['delta']['rougeL']:+.2f})",
        highlight=False,
    )
