"""The cost and the parity of an export: seconds, memory, sizes and links for a run of t5-small's shape.

    python -m benchmarks.export [--device cuda] [--model small|tiny|base] [--documents 100]

The run has random weights (60 M), a LoRA adapter, 100 documents of 100 to 500 tokens and summaries of 64. What is
measured is `python -m export RUN --precision fp32 int8` (fp16 and fp32 on a GPU), with PyTorch and both engines
summarizing the documents. Memory is the resident set of the process and its children, sampled. The last line is JSON.
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

from benchmarks.peers import PRECISIONS, SHAPES, VOCABULARY, word
from benchmarks.server import ROOT, resident_bytes
from finetune.files import write_json

WORDS = (100, 500)  # of a document
LIMITS = {"fp32_mb": 260, "int8_mb": 75}  # for t5-small
SAMPLE_SECONDS = 0.05
FAILED_FOLDER = "parity-failed"  # of a run
LINK_KEYS = (
    "link", "documents", "identical_summaries", "ties", "token_agreement", "max_abs_logit_difference", "passed",
)  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=PRECISIONS, default="cpu")
    parser.add_argument("--model", choices=(*SHAPES, "base"), default="small", help="base: models/base on Gazette")
    parser.add_argument("--documents", type=int, default=100, help="compared with PyTorch; engines get thrice as many")
    parser.add_argument("--output", type=Path, help="file for the result")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few documents, to try that all runs")
    options = parser.parse_args(argv)
    if options.tiny:
        options.documents, options.model = 4, "base" if options.model == "base" else "tiny"
    result: dict = {"shape": options.model, "documents": options.documents, "seconds": 0.0, "peak_mib": 0, "links": {}}
    result |= json.loads(options.output.read_text()) if options.output and options.output.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        if options.model == "base":
            run = write_base_run(Path(scratch) / "run", options.documents)
        else:
            run = write_random_run(Path(scratch), SHAPES[options.model], options.documents)
        # Apart on a GPU, whose time may end after the first.
        calls = [PRECISIONS["cpu"]] if options.device == "cpu" else [("fp32",), ("fp16",)]
        if options.tiny:  # the gates of lossy precisions are by shares, which few documents do not have
            calls = [("fp32",)]
        for precisions in calls:
            if not {*precisions} <= result["links"].keys():
                measure_export(run, options.device, precisions, result)
            result["within"] = all(result.get(key, 0) <= limit for key, limit in LIMITS.items())
            if options.output:
                write_json(options.output, result)
    print(json.dumps(result))
    return 0


def measure_export(run: Path, device: str, precisions: tuple[str, ...], result: dict) -> None:
    """Exports `run`; adds seconds, memory and sizes to `result`, and the links, those of a failed parity included."""
    command = [sys.executable, "-m", "export", str(run), "--device", device, "--precision", *precisions]
    try:
        seconds, peak = measure(command)
    except SystemExit:
        if not (run / FAILED_FOLDER).exists():
            raise
        result["links"][precisions[-1]] = read_links(run / FAILED_FOLDER)
        return
    result["seconds"] = round(result["seconds"] + seconds, 1)
    result["peak_mib"] = max(result["peak_mib"], round(peak / 2**20))
    for precision in precisions:
        bundle = run / ("bundle" if precision == "fp32" else f"bundle-{precision}")
        result[f"{precision}_mb"] = round(sum(path.stat().st_size for path in bundle.iterdir()) / 1e6, 1)
        result["links"][precision] = read_links(bundle)


def read_links(folder: Path) -> list[dict]:
    """The links of the folder's parity report."""
    links = json.loads((folder / "parity.json").read_text())["links"]
    return [{key: link[key] for key in LINK_KEYS if key in link} for link in links]


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
        # A random model with tied embeddings would repeat its start token, which is padding, forever.
        {"no_repeat_ngram_size": 1},
    )


def write_base_run(folder: Path, documents: int) -> Path:
    """Writes a run of models/base on Gazette's pairs into `folder`, and returns it."""
    return _write_run(folder, {"name": str(ROOT / "models/base")}, ROOT / "data/gazette", documents, {})


def _write_run(run: Path, model: dict, data: Path, documents: int, generation: dict) -> Path:
    """Writes the folder `run` as fine-tuning would leave it, with an adapter that changes nothing."""
    from finetune import provenance
    from finetune.data.loading import load_pairs
    from finetune.evaluation.rouge import KINDS
    from finetune.evaluation.scoring import generation_config
    from finetune.recipe_io import parse_recipe
    from finetune.run_info import RunInfo, TrainingData, write_run
    from finetune.training.model import add_adapter, load_base

    recipe = parse_recipe(
        {
            "output": str(run),
            "model": model,
            "data": {split: str(data / f"{split}.jsonl") for split in ("train", "validation")},
            "generation": generation,
            "export": {"documents": documents, "engine_documents": 3 * documents},
        }
    )
    pairs = load_pairs(recipe.data, recipe.training.seed)
    network, tokenizer = load_base(recipe.model)
    network.generation_config = generation_config(recipe, network)
    network.save_pretrained(run / "merged")
    tokenizer.save_pretrained(run / "merged")
    add_adapter(network, recipe.lora).save_pretrained(run / "adapter")
    scores = dict.fromkeys(KINDS, 0.0)
    rouge = {"base": scores, "finetuned": scores, "paired_difference_ci95": {kind: [0.0, 0.0] for kind in KINDS}}
    (run / "rouge.json").write_text(json.dumps(rouge))
    info = RunInfo(
        recipe=recipe,
        base_model=provenance.base_model(recipe, network),
        data=TrainingData(**provenance.data_source(recipe, pairs).model_dump()),
        training_seconds=0.0,
        hardware=provenance.hardware(),
        git_commit=provenance.git_commit(),
        versions=provenance.versions(),
    )
    write_run(info, run)
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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
