"""What the engine's tests share: texts, settings, a bundle's manifest, one text's reference."""

import json
from pathlib import Path

import torch

from precis.bundle.manifest import FORMAT, sha256
from tests.conftest import gazette

LIMIT = 96
TEXTS = [row["document"][: 60 + 37 * i] for i, row in enumerate(gazette("validation")[:12])]
ODD = "🙂👩‍👩‍👧 Łódź 日本語 Nguyễn ✓ "

SETTINGS = [
    {"max_new_tokens": 20},
    {"max_new_tokens": 24, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 16, "repetition_penalty": 1.5, "min_new_tokens": 9},
    {"max_new_tokens": 16, "num_beams": 4, "no_repeat_ngram_size": 3},
    {"max_new_tokens": 12, "num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
    {"max_new_tokens": 12, "num_beams": 2, "early_stopping": "never", "length_penalty": -1.0, "min_new_tokens": 4},
    {"max_new_tokens": 14, "num_beams": 5, "repetition_penalty": 0.8},
]


def seal(folder: Path, **manifest) -> None:
    """Writes a manifest for what lies in `folder`."""
    files = {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    content = {"format": FORMAT, "prefix": "summarize: ", "max_input_tokens": LIMIT, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(content))


@torch.inference_mode()
def reference(model, tokenizer, text, settings):
    """transformers' summary of one text alone: tokens without pad and end, and text."""
    inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
    tokens = model.generate(**inputs, **settings)[0].tolist()
    return [t for t in tokens if t not in (0, 1)], tokenizer.decode(tokens, skip_special_tokens=True)
