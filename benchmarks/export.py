"""The cost of an export: seconds, memory and sizes for a run of t5-small's shape (60 M parameters, random weights).

    python -m benchmarks.export [--shape small|tiny] [--documents 100]

The run has a LoRA adapter, 100 documents of 100 to 500 tokens and summaries of 64. `writing_...` is the cost of the
graphs of both bundles, imports included; the rest is `python -m export RUN --precision fp32 int8`, which also lets
PyTorch and both engines summarize the documents and compares every link. Memory is the resident set of the process and
its children, sampled. The last line is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.peers import SHAPES, VOCABULARY, token_ids, word
from benchmarks.server import ROOT, resident_bytes

WORDS = (100, 500)  # of a document
LIMITS = {"writing_seconds": 120, "writing_peak_mib": 4096, "fp32_mb": 260, "int8_mb": 75}  # for t5-small
SAMPLE_SECONDS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--documents", type=int, default=100, help="compared with PyTorch; engines get thrice as many")
    parser.add_argument("--write", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_bundles(*options.write)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        run = write_random_run(Path(scratch), SHAPES[options.shape], options.documents)
        write_only = ["benchmarks.export", "--write", str(run / "merged"), str(Path(scratch) / "written")]
        writing, writing_peak = measure([sys.executable, "-m", *write_only])
        seconds, peak = measure([sys.executable, "-m", "export", str(run), "--precision", "fp32", "int8"])
        result = {
            "shape": options.shape,
            "documents": options.documents,
            "writing_seconds": round(writing, 1),
            "writing_peak_mib": round(writing_peak / 2**20),
            "seconds": round(seconds, 1),
            "peak_mib": round(peak / 2**20),
            "fp32_mb": round(size(run / "bundle") / 1e6, 1),
            "int8_mb": round(size(run / "bundle-int8") / 1e6, 1),
        }
    print(json.dumps({**result, "within": all(result[key] <= limit for key, limit in LIMITS.items())}))
    return 0


def write_bundles(model: Path, folder: Path) -> None:
    """Writes the graphs of an fp32 and an int8 bundle, without parity checks."""
    from benchmarks.models import write_bundle
    from export.pipeline import CALIBRATION

    write_bundle(model, folder / "fp32")
    write_bundle(model, folder / "int8", token_ids(CALIBRATION))


def write_random_run(folder: Path, shape: dict[str, int], documents: int) -> Path:
    """Writes a run of a random model and random texts, and returns its folder."""
    from benchmarks.models import PREFIX, write_model

    write_model(folder / "base", **shape)
    draw = random.Random(0)
    for split, count in (("validation", documents), ("train", 2 * documents)):
        rows = [{"document": _text(draw, *WORDS), "summary": _text(draw, 20, 30)} for _ in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _write_run(
        folder / "run",
        {"name": str(folder / "base"), "prefix": PREFIX},
        folder,
        documents,
        # A random model with tied embeddings would repeat its start token, which is padding, for ever.
        {"no_repeat_ngram_size": 1},
    )


def write_base_run(folder: Path, documents: int) -> Path:
    """Writes a run of models/base on Gazette's pairs, and returns its folder."""
    return _write_run(folder, {"name": str(ROOT / "models/base")}, ROOT / "data/gazette", documents, {})


def _write_run(run: Path, model: dict, data: Path, documents: int, generation: dict) -> Path:
    """Writes the folder `run` as fine-tuning would leave it, with an adapter that changes nothing."""
    from finetune import provenance
    from finetune.evaluation.rouge import KINDS
    from finetune.evaluation.scoring import generation_config
    from finetune.recipe import parse_recipe
    from finetune.training.train import add_adapter, load_base

    recipe = parse_recipe(
        {
            "output": str(run),
            "model": model,
            "data": {split: str(data / f"{split}.jsonl") for split in ("train", "validation")},
            "generation": generation,
            "export": {"documents": documents, "engine_documents": 3 * documents},
        }
    )
    network, tokenizer = load_base(recipe.model)
    network.generation_config = generation_config(recipe, network)
    network.save_pretrained(run / "merged")
    tokenizer.save_pretrained(run / "merged")
    add_adapter(network, recipe.lora).save_pretrained(run / "adapter")
    scores = dict.fromkeys(KINDS, 0.0)
    rouge = {"base": scores, "finetuned": scores, "paired_difference_ci95": {kind: [0.0, 0.0] for kind in KINDS}}
    info = {
        "recipe": recipe.model_dump(),
        "base_model": provenance.base_model(recipe, network),
        "data": provenance.data_set(recipe, None),
        "training_seconds": 0.0,
        "hardware": provenance.hardware(),
        "git_commit": provenance.git_commit(),
        "versions": provenance.versions(),
    }
    for name, content in (("rouge.json", rouge), ("run.json", info)):
        (run / name).write_text(json.dumps(content))
    return run


def _text(draw: random.Random, least: int, most: int) -> str:
    return " ".join(word(draw.randrange(3, VOCABULARY)) for _ in range(draw.randint(least, most)))


def measure(command: list[str]) -> tuple[float, int]:
    """Runs the command; its seconds, and the most bytes that it and its children had resident at one time."""
    began, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident_bytes(process))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"The export ended with status {process.returncode}.")
    return time.perf_counter() - began, peak


def size(bundle: Path) -> int:
    """Bytes of all the bundle's files."""
    return sum(path.stat().st_size for path in bundle.iterdir())


if __name__ == "__main__":
    raise SystemExit(main())
