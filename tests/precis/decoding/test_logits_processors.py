"""Tokens that generation_config.json forces and suppresses, against transformers' `generate`."""

import json
import shutil

import pytest
from transformers import GenerationConfig

from precis import Engine, GenerationParams
from tests.support.engines import LIMIT, TEXTS, seal


@pytest.mark.parametrize(
    "changes",
    [
        {"forced_bos_token_id": 40, "begin_suppress_tokens": [41, 42], "suppress_tokens": [43, 1]},
        {"forced_eos_token_id": 1, "suppress_tokens": [3, 5]},
        {"forced_eos_token_id": [7], "decoder_start_token_id": 9},
        {"eos_token_id": [1, 300, 301, 302], "min_length": 6, "max_length": 15},
    ],
    ids=lambda changes: "-".join(changes),
)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_forced_and_suppressed_tokens_equal_transformers(pair, tmp_path, changes, num_beams):
    model, tokenizer, engine = pair
    bundle = shutil.copytree(engine.bundle.folder, tmp_path / "bundle")
    config = json.loads((bundle / "generation_config.json").read_text()) | {"max_length": 14} | changes
    (bundle / "generation_config.json").write_text(json.dumps(config))
    seal(bundle)
    generation_config = GenerationConfig(**config, num_beams=num_beams)
    eos = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
    with Engine.load(bundle) as changed:
        for text in TEXTS[:4]:
            inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
            tokens = model.generate(**inputs, generation_config=generation_config)[0].tolist()[1:]
            expected = [token for token in tokens if token != 0 and token not in eos]
            summary = changed.generate([text], GenerationParams(num_beams=num_beams, long_text="truncate"))[0]
            assert summary.token_ids == expected
