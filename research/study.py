"""Compares ranks and targets of LoRA with full fine-tuning on real news: ROUGE, seconds, memory.

    python -m research.study FOLDER [--out study.json] [--only NAME ...] [--share 0.05]

FOLDER holds data that is not in the repository: research/xsum_1331.jsonl.xz to train on (1,331 pairs in XSum's manner)
and evaluation/xsum_validation200.jsonl to score on; columns document and summary. Every row of the table is one run of
`python -m finetune` on models/base with nothing else changed. A run that is in the results file is not repeated. Writes
docs/study.md; the last line of output is JSON. About a quarter of an hour on two cores.
"""

import argparse
import hashlib
import json
import lzma
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from finetune.evaluation.rouge import mean_interval, rouge_by_document
from finetune.files import write_json, write_text

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/study.md"
TRAIN, VALIDATION = "research/xsum_1331.jsonl.xz", "evaluation/xsum_validation200.jsonl"
RECIPE = """
model: {name: models/base}
data: {max_document_tokens: 192}
training: {epochs: 2, batch_size: 8, eval_batch_size: 50}
generation: {max_new_tokens: 48, no_repeat_ngram_size: 3, repetition_penalty: 1.2}
"""
LORA = ["training.learning_rate=1e-3", "lora.rank=16", "lora.alpha=32"]
DECODER = r"lora.targets=.*decoder.*\.(q|k|v|o|wi_0|wi_1|wi|wo)"
SETTINGS = {
    "LoRA rank 4, all linear": [*LORA, "lora.rank=4", "lora.alpha=8"],
    "LoRA rank 16, all linear": LORA,
    "LoRA rank 64, all linear": [*LORA, "lora.rank=64", "lora.alpha=128"],
    "LoRA rank 16, q and v": [*LORA, "lora.targets=[q, v]"],
    "LoRA rank 16, decoder": [*LORA, DECODER],
    "full, 3e-4": ["lora=null", "training.learning_rate=3e-4"],
    "full, 1e-3": ["lora=null", "training.learning_rate=1e-3"],
}
KINDS = ("rouge1", "rouge2", "rougeL")
console = Console(stderr=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m research.study", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the data, see research/study.py")
    parser.add_argument("--out", type=Path, default=Path("study.json"), help="results, written after every run")
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the data, for a quick try; the page is then next to OUT"
    )
    options = parser.parse_args()
    for path in (options.folder / TRAIN, options.folder / VALIDATION):
        if not path.is_file():
            parser.error(f"{path} is missing; research/study.py says what FOLDER holds")
    with tempfile.TemporaryDirectory() as scratch:
        recipe, setup = _prepare(options.folder, Path(scratch), options.share)
        results = json.loads(options.out.read_text()) if options.out.is_file() else {"setup": setup, "runs": {}}
        if results["setup"] != setup:
            print(
                f"{options.out} has results of another base, data or recipe; remove it or name another file.",
                file=sys.stderr,
            )
            return 1
        for name in options.only:
            if name not in results["runs"]:
                began = time.perf_counter()
                results["runs"][name] = _run(recipe, Path(scratch) / "run", SETTINGS[name])
                write_json(options.out, results)
                console.print(f"{name}: {time.perf_counter() - began:.0f} s", highlight=False)
    write_text(PAGE if options.share == 1 else options.out.with_suffix(".md"), page(results))
    figures = {
        name: {
            **{kind: round(float(np.mean(run["scores"]["finetuned"][kind])), 2) for kind in KINDS},
            **{key: run[key] for key in ("training_seconds", "peak_memory_mib")},
        }
        for name, run in results["runs"].items()
    }
    print(json.dumps(figures))
    return 0


def _prepare(folder: Path, scratch: Path, share: float) -> tuple[Path, dict[str, str | float]]:
    """A recipe in `scratch` with this share of the data, and the hashes that identify base, data and recipe."""
    sets = {}
    for name, place in (("train", TRAIN), ("validation", VALIDATION)):
        path = folder / place
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
            rows = file.readlines()
        sets[name] = "".join(rows[: round(share * len(rows))])
        (scratch / f"{name}.jsonl").write_text(sets[name])
    recipe = scratch / "study.yaml"
    recipe.write_text(RECIPE)
    setup = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sets.items()}
    with (ROOT / "models/base/model.safetensors").open("rb") as file:
        setup["base"] = hashlib.file_digest(file, "sha256").hexdigest()
    return recipe, {**setup, "recipe": RECIPE}


def _run(recipe: Path, output: Path, overrides: list[str]) -> dict:
    """Runs the command once; its costs, and ROUGE of every document."""
    data = [f"data.{name}={recipe.with_name(name)}.jsonl" for name in ("train", "validation")]
    command = [sys.executable, "-m", "finetune", str(recipe), f"output={output}", *data, *overrides]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    info = json.loads((output / "run.json").read_text())
    summaries = json.loads((output / "summaries.json").read_text())
    keys = (
        "trained_parameters",
        "training_seconds",
        "total_seconds",
        "tokens_per_second",
        "peak_memory_mib",
        "hardware",
    )
    return {
        **{key: info[key] for key in keys},
        "pairs": [info["data"][f"{name}_pairs"] for name in ("train", "validation")],
        "settings": overrides,
        "torch": info["versions"]["torch"],
        "scores": {name: _scores(summaries[name], summaries["reference"]) for name in ("base", "finetuned")},
        "lead": json.loads((output / "rouge.json").read_text())["lead"],
    }


def _scores(summaries: list[str], references: list[str]) -> dict[str, list[float]]:
    scores = rouge_by_document(summaries, references)
    return {kind: [round(float(value), 2) for value in scores[kind]] for kind in KINDS}


def table(results: dict) -> list[list[str]]:
    """The rows of the page's table.

    Name, trained parameters, three ROUGEs, difference of ROUGE-L to the best full run, seconds, tokens a second, MiB;
    with 95% intervals.
    """
    runs = results["runs"]
    full = _best_full(runs)
    first = next(iter(runs.values()))

    def cells(scores: dict[str, list[float]]) -> list[str]:
        means = [mean_interval(np.array(scores[kind])) for kind in KINDS]
        return [f"{mean:.1f} [{low:.1f}, {high:.1f}]" for mean, (low, high) in means]

    lead = [
        f"{first['lead'][kind]:.1f} [{', '.join(f'{end:.1f}' for end in first['lead']['ci95'][kind])}]"
        for kind in KINDS
    ]
    rows = [
        ["first sentence", "", *lead, "", "", "", ""],
        ["base, not trained", "0", *cells(first["scores"]["base"]), "", "", "", ""],
    ]
    for name, run in runs.items():
        scores = run["scores"]["finetuned"]
        to_full = ""
        if full and name != full:
            difference = np.array(scores["rougeL"]) - np.array(runs[full]["scores"]["finetuned"]["rougeL"])
            mean, (low, high) = mean_interval(difference)
            to_full = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        costs = [f"{run[key]:,.0f}" for key in ("training_seconds", "tokens_per_second", "peak_memory_mib")]
        rows.append([name, f"{run['trained_parameters']:,}", *cells(scores), to_full, *costs])
    return rows


def _best_full(runs: dict) -> str | None:
    """The full fine-tuning with the highest ROUGE-L."""
    full = [name for name in runs if name.startswith("full")]
    return max(full, key=lambda name: np.mean(runs[name]["scores"]["finetuned"]["rougeL"]), default=None)


def page(results: dict) -> str:
    """The text of docs/study.md."""
    runs = results["runs"]
    first, full = next(iter(runs.values())), _best_full(runs)
    head = [
        "",
        "trained",
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L",
        f"ROUGE-L minus that of {full or 'full'}",
        "s",
        "tokens/s",
        "MiB",
    ]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *table(results)))
    settings = "\n".join(f"- {name}: `{' '.join(run['settings'])}`" for name, run in runs.items())
    minutes = sum(run["total_seconds"] for run in runs.values()) / 60
    train, validation = first["pairs"]
    return f"""# LoRA against full fine-tuning, on real news

<!-- Written by `python -m research.study FOLDER`; research/study.py says what FOLDER holds. -->

`models/base` (weights' SHA-256 {results["setup"]["base"][:12]}…) fine-tuned on {train:,} XSum-like (article, sentence)
pairs, scored on {validation} articles of XSum's validation split. Each row is one run of `python -m finetune`
with the same base, data, seed, number of epochs (two) and search; the epoch with the lower validation loss is kept.
{minutes:.0f} minutes in all on {first["hardware"]}, torch {first["torch"]}.

{rows}

ROUGE is F1, stemmed, in points, with 95% bootstrap intervals over the documents. The difference is paired by document:
an interval that holds 0 says that {validation} documents cannot tell the two apart. Full fine-tuning was tried at two
rates and LoRA at one, and the better rate was selected on the same documents, which favours full fine-tuning. Seconds
count training with its two evaluations; MiB is the peak memory of the process while it trains, libraries included.

Settings of each run (if a key stands twice, the later value counts):

{settings}

The rest of the recipe:

```yaml
{RECIPE.strip()}
```
"""


if __name__ == "__main__":
    raise SystemExit(main())
