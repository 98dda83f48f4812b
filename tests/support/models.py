"""Models and bundles that tests read; in the serving environment the training one makes them.

`python -m tests.support.models NAME PATH...` calls a function of this module and prints what it returns.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BASE = ROOT / "models/base"


def built(name: str, *paths: Path) -> Path:
    """The result of the function `name` of this module, called in .venv where this environment has no torch."""
    if find_spec("torch"):
        return globals()[name](*paths)
    command = [ROOT / ".venv/bin/python", "-m", "tests.support.models", name, *paths]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def tiny_t5(folder: Path, shape: str) -> Path:
    """A random T5 with our tokenizer.

    "v1.0" (ReLU, tied), "v1.1" (gated, untied, heads x d_kv != d_model) or "mt5" (likewise, a class of its own).
    """
    import torch
    from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

    from finetune.training.attention import IS_TRANSFORMERS_5
    from finetune.training.model import load_tokenizer

    torch.manual_seed(8 if IS_TRANSFORMERS_5 else 7)  # each draws a model that does not write padding
    tokenizer = load_tokenizer(BASE, "base")
    gated = shape != "v1.0"
    configuration, model = (
        (MT5Config, MT5ForConditionalGeneration) if shape == "mt5" else (T5Config, T5ForConditionalGeneration)
    )
    config = configuration(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16 if gated else 8,
        num_heads=4,
        d_ff=48,
        num_layers=3 if gated else 2,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,
        decoder_start_token_id=0,
    )
    model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_recipe(folder: Path) -> Path:
    """A recipe for a tiny model, folder/tiny, on a hundred-odd short Gazette pairs."""
    from tests.conftest import gazette, write_jsonl

    base = tiny_t5(folder / "tiny", "v1.0")
    rows = [{"document": row["document"][:300], "summary": row["summary"]} for row in gazette("train")]
    write_jsonl(folder / "train.jsonl", rows[:40])
    write_jsonl(folder / "validation.jsonl", rows[40:64])
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        f"""
model: {{name: {base}}}
data: {{train: {folder}/train.jsonl, validation: {folder}/validation.jsonl, max_document_tokens: 64}}
lora: {{rank: 4}}
training: {{max_steps: 3, batch_size: 4}}
generation: {{max_new_tokens: 12, no_repeat_ngram_size: 3}}
"""
    )
    return recipe


def tiny_run(recipe: Path, run: Path) -> Path:
    """A whole run of a recipe, fine-tuned and exported by the commands' own entry points."""
    from export.__main__ import main as export
    from finetune.__main__ import main as finetune

    assert finetune([str(recipe), f"output={run}"]) == 0
    assert export([str(run), "--precision", "fp32"]) == 0
    return run


def base_bundle(folder: Path) -> Path:
    """The base in fp32."""
    return exported(BASE, folder)


def static_bundle(folder: Path) -> Path:
    """The base in fp32 with static graphs, as for GPUs."""
    return exported(BASE, folder, static=True)


def int8_bundle(folder: Path) -> Path:
    """The base in int8."""
    from finetune.training.model import load_tokenizer
    from tests.conftest import gazette
    from tests.support.engines import LIMIT

    texts = ["summarize: " + row["document"] for row in gazette("train")[:8]]
    ids = load_tokenizer(BASE, "base")(texts, truncation=True, max_length=LIMIT).input_ids
    return exported(BASE, folder, ids)


def exported(model: Path, folder: Path, calibration: list[list[int]] | None = None, static: bool = False) -> Path:
    """A bundle of the model under `folder`, without parity checks."""
    from export.graphs.trace import trace, write_graphs
    from export.precision.int8 import quantize_graphs
    from tests.support.engines import seal

    bundle = folder / "bundle"
    bundle.mkdir()
    graphs = trace(model, calibration, static)
    write_graphs(graphs if calibration is None else quantize_graphs(graphs), model, bundle)
    seal(bundle)
    return bundle


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*map(Path, sys.argv[2:])))
