"""Tokens of texts and of summaries by the base, as the version of transformers in golden_summaries.json wrote them.

Another version of transformers, torch or tokenizers must write the same tokens for the same weights. To write the file
anew: python -m tests.finetune.evaluation.test_golden_summaries.
"""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, gazette
from tests.support.engines import ODD

GOLDEN = Path(__file__).with_name("golden_summaries.json")
LIMIT = 96  # tokens of a text that the model reads
GENERATION = {
    "greedy": {"max_new_tokens": 32},
    "beams": {"max_new_tokens": 32, "num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0},
}
# With characters that need byte fallback, and blanks that normalization removes.
TEXTS = [*(row["document"] for row in gazette("validation")[:15]), f"{ODD * 2}\n\n  The  council met.\n* It voted. "]


def tokens() -> dict[str, list[list[int]]]:
    """The tokens of every text, and by each of GENERATION those of its summary."""
    from finetune.data.tokenizing import encode
    from finetune.evaluation.scoring import generate
    from finetune.recipe_io import parse_recipe
    from finetune.training.model import load_base

    def recipe(generation: dict):
        model = {"name": str(ROOT / "models/base")}
        return parse_recipe(
            {"model": model, "data": {"train": "x", "max_document_tokens": LIMIT}, "generation": generation}
        )

    model, tokenizer = load_base(recipe({}).model)
    inputs = encode(tokenizer, TEXTS, recipe({}))
    summaries = {
        name: generate(model.eval(), tokenizer, inputs, recipe(settings), name) for name, settings in GENERATION.items()
    }
    return {"texts": inputs, **summaries}


@pytest.fixture(scope="module")
def actual():
    return tokens()


@pytest.mark.parametrize("name", ["texts", *GENERATION])
def test_tokens_are_those_of_the_version_that_wrote_the_file(actual, name):
    assert actual[name] == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    import transformers

    GOLDEN.write_text(json.dumps({"transformers": transformers.__version__, **tokens()}) + "\n")
