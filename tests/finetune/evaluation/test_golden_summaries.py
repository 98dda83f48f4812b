"""Summaries of the base by transformers' generate, as the version named in golden_summaries.json wrote them.

Another version of transformers, torch or tokenizers must write the same tokens for the same weights. To write the file
anew: python -m tests.finetune.evaluation.test_golden_summaries.
"""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, gazette
from tests.support.engines import reference

GOLDEN = Path(__file__).with_name("golden_summaries.json")
SETTINGS = {
    "greedy": {"max_new_tokens": 32, "num_beams": 1},
    "beams": {"max_new_tokens": 32, "num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0},
}
TEXTS = [row["document"] for row in gazette("validation")[:8]]


def summaries(name: str) -> list[list[int]]:
    """The tokens of every text's summary by the settings `name`."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(ROOT / "models/base").eval()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    return [reference(model, tokenizer, text, SETTINGS[name])[0] for text in TEXTS]


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_are_those_of_the_version_that_wrote_the_file(name):
    assert summaries(name) == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    import transformers

    golden = {"transformers": transformers.__version__, **{name: summaries(name) for name in SETTINGS}}
    GOLDEN.write_text(json.dumps(golden) + "\n")
