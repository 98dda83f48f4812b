"""LoRA's rank and targets against full fine-tuning, on real news: ROUGE, seconds, memory.

    python -m benchmarks.study FOLDER [--only NAME ...] [--out study.json]

FOLDER holds what may not ship with the code: research/xsum_1331.jsonl.xz to train on (1,331 pairs in XSum's manner)
and evaluation/xsum_validation200.jsonl to score on; columns document and summary. Every line is one run of
`python -m finetune` on models/base with nothing else changed. The last line of output is JSON.
"""

import argparse
import json
import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from finetune.files import write_json

ROOT = Path(__file__).parent.parent
RECIPE = """
model: {name: models/base}
data: {max_document_tokens: 128}
training: {epochs: 1, batch_size: 8, eval_batch_size: 50}
generation: {max_new_tokens: 48, no_repeat_ngram_size: 3, repetition_penalty: 1.2}
"""
DECODER = r"lora.targets=.*decoder.*\\.(q|k|v|o|wi_0|wi_1|wi|wo)"
SETTINGS = {
    "LoRA rank 4, all linear": ["lora.rank=4", "lora.alpha=8", "training.learning_rate=1e-3"],
    "LoRA rank 16, all linear": ["lora.rank=16", "lora.alpha=32", "training.learning_rate=1e-3"],
    "LoRA rank 64, all linear": ["lora.rank=64", "lora.alpha=128", "training.learning_rate=1e-3"],
    "LoRA rank 16, q and v": ["lora.targets=[q, v]", "lora.alpha=32", "training.learning_rate=1e-3"],
    "LoRA rank 16, decoder": [DECODER, "lora.alpha=32", "training.learning_rate=1e-3"],
    "rsLoRA rank 64, all linear": ["lora.rank=64", "lora.alpha=16", "lora.rslora=true", "training.learning_rate=1e-3"],
    "DoRA rank 16, all linear": ["lora.alpha=32", "lora.dora=true", "training.learning_rate=1e-3"],
    "full, 3e-4": ["lora=null", "training.learning_rate=3e-4"],
    "full, 1e-3": ["lora=null", "training.learning_rate=1e-3"],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--out", type=Path, help="written after every run; runs that stand in it are not repeated")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out and options.out.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with lzma.open(options.folder / "research/xsum_1331.jsonl.xz") as packed:
            (place / "train.jsonl").write_bytes(packed.read())
        (place / "study.yaml").write_text(RECIPE)
        data = [
            f"data.train={place}/train.jsonl",
            f"data.validation={options.folder}/evaluation/xsum_validation200.jsonl",
        ]
        for name in options.only:
            if name not in results:
                results[name] = _run(place / "study.yaml", place / "run", [*data, *SETTINGS[name]])
                if options.out:
                    write_json(options.out, results)
    _show(results)
    print(json.dumps(results))
    return 0


def _run(recipe: Path, output: Path, overrides: list[str]) -> dict:
    command = [sys.executable, "-m", "finetune", str(recipe), f"output={output}", *overrides]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    info, rouge = (json.loads((output / name).read_text()) for name in ("run.json", "rouge.json"))
    keys = ("trained_parameters", "training_seconds", "tokens_per_second", "peak_memory_mib")
    return {**{key: info[key] for key in keys}, "base_sha256": info["base_model"]["sha256"], "rouge": rouge}


def _show(results: dict[str, dict]) -> None:
    table = Table("", "trained", "ROUGE-1", "ROUGE-2", "ROUGE-L", "seconds", "MiB", box=None)
    rows = {name: (result, result["rouge"]["finetuned"]) for name, result in results.items()}
    first = next(iter(results.values()))
    for name, (result, scores) in {"base, not trained": (None, first["rouge"]["base"]), **rows}.items():
        cells = [
            f"{scores[kind]:.1f} [{scores['ci95'][kind][0]:.1f}, {scores['ci95'][kind][1]:.1f}]"
            for kind in ("rouge1", "rouge2", "rougeL")
        ]
        costs = [f"{result['training_seconds']:.0f}", f"{result['peak_memory_mib']:,}"] if result else ["", ""]
        table.add_row(name, f"{result['trained_parameters']:,}" if result else "0", *cells, *costs)
    Console(width=140).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
