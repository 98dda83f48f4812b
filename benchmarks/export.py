"""What an export costs: seconds, memory and sizes for a run of t5-small's shape (60 M parameters, random weights).

    python -m benchmarks.export [--shape small|tiny] [--documents 100]

The run has a LoRA adapter, 100 documents of 100 to 500 tokens and summaries of 64. `writing_...` is what the graphs of
both bundles take, imports included; the rest is the whole of `python -m export RUN --precision fp32 int8`, which also
lets PyTorch and both engines summarize the documents and compares every link. Memory is the resident set of the process
and its children, sampled. The last line is JSON.
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

ROOT = Path(__file__).parent.parent
SHAPES = {"small": {}, "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}}
WORDS = (100, 500)  # of a document
MOST = {"writing_seconds": 120, "writing_peak_mib": 4096, "fp32_mb": 260, "int8_mb": 75}  # what is asked of t5-small
TICK = 0.05  # seconds between two looks at the memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--documents", type=int, default=100, help="on which PyTorch is compared; engines take thrice")
    parser.add_argument("--write", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_both(*options.write)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        run = write_run(Path(scratch), SHAPES[options.shape], options.documents)
        alone = ["benchmarks.export", "--write", str(run / "merged"), str(Path(scratch) / "written")]
        writing, writing_peak = measured([sys.executable, "-m", *alone])
        seconds, peak = measured([sys.executable, "-m", "export", str(run), "--precision", "fp32", "int8"])
        found = {
            "shape": options.shape,
            "documents": options.documents,
            "writing_seconds": round(writing, 1),
            "writing_peak_mib": round(writing_peak / 2**20),
            "seconds": round(seconds, 1),
            "peak_mib": round(peak / 2**20),
            "fp32_mb": round(size(run / "bundle") / 1e6, 1),
            "int8_mb": round(size(run / "bundle-int8") / 1e6, 1),
        }
    print(json.dumps({**found, "within": all(found[key] <= most for key, most in MOST.items())}))
    return 0


def write_both(model: Path, folder: Path) -> None:
    """The graphs of an fp32 and an int8 bundle, without a proof."""
    from benchmarks.engine import texts
    from benchmarks.shapes import write_bundle
    from export.documents import CALIBRATION_DOCUMENTS

    write_bundle(model, folder / "fp32")
    write_bundle(model, folder / "int8", texts(CALIBRATION_DOCUMENTS))


def write_run(folder: Path, shape: dict[str, int], documents: int) -> Path:
    """What fine-tuning would leave, without the training: base, adapter, merged model and papers."""
    from benchmarks.peers import VOCABULARY, word
    from benchmarks.shapes import PREFIX, write_model
    from finetune.recipe_io import parse_recipe

    write_model(folder / "base", **shape)
    chance = random.Random(0)
    for split, count in (("validation", documents), ("train", 2 * documents)):
        texts = [
            {"document": _text(chance, VOCABULARY, word, *WORDS), "summary": _text(chance, VOCABULARY, word, 20, 30)}
            for _ in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    recipe = parse_recipe(
        {
            "output": str(folder / "run"),
            "model": {"name": str(folder / "base"), "prefix": PREFIX},
            "data": {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")},
            # Else a random model with tied embeddings says its start token, which is padding, for ever.
            "generation": {"no_repeat_ngram_size": 1},
            "export": {"documents": documents, "engine_documents": 3 * documents},
        }
    )
    return write_run_of(recipe, folder / "run")


def write_run_of(recipe, run: Path) -> Path:
    """The folder `run` as fine-tuning by `recipe` would leave it, with an adapter that changes nothing."""
    from finetune import provenance
    from finetune.evaluation.rouge import KINDS
    from finetune.evaluation.scoring import generation_config
    from finetune.run_info import RunInfo, TrainingData, write_run
    from finetune.training.model import add_adapter, load_base

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
        data=TrainingData(**provenance.data_source(recipe, None).model_dump()),
        training_seconds=0.0,
        hardware=provenance.hardware(),
        git_commit=provenance.git_commit(),
        versions=provenance.versions(),
    )
    write_run(info, run)
    return run


def _text(chance: random.Random, vocabulary: int, word, least: int, most: int) -> str:
    return " ".join(word(chance.randrange(3, vocabulary)) for _ in range(chance.randint(least, most)))


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds that the command takes, and the most bytes that it and its children have resident at one time."""
    began, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident(process))
        time.sleep(TICK)
    if process.returncode:
        raise SystemExit(f"The export ended with status {process.returncode}.")
    return time.perf_counter() - began, peak


def resident(process: psutil.Process) -> int:
    """Bytes of the process and all below it."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # one of them ended meanwhile
    return total


def size(bundle: Path) -> int:
    """Bytes of all the bundle's files."""
    return sum(path.stat().st_size for path in bundle.iterdir())


if __name__ == "__main__":
    raise SystemExit(main())
