"""Summaries by PyTorch: a batch gives the same as each document alone, and the recipe's parameters apply."""

import pytest

from finetune.data.tokenizing import encode
from finetune.evaluation.scoring import generate, strip_padding
from finetune.recipe import Recipe
from finetune.training.model import load_base
from tests.conftest import ROOT, gazette


@pytest.mark.parametrize("beams", [1, 3])
def test_batch_gives_the_same_tokens_as_each_document_alone(beams):
    recipe = Recipe(
        model={"name": str(ROOT / "models/base")},
        data={"train": "unused.jsonl"},
        generation={"num_beams": beams, "max_new_tokens": 48, "no_repeat_ngram_size": 3},
    )
    model, tokenizer = load_base(recipe.model)
    model.eval()
    documents = [row["document"][: 150 + 90 * i] for i, row in enumerate(gazette("validation")[:6])]
    inputs = encode(tokenizer, documents, recipe)
    batched = generate(model, tokenizer, inputs, recipe, "")
    alone = [generate(model, tokenizer, [ids], recipe, "")[0] for ids in inputs]
    assert batched == alone
    assert len({len(tokens) for tokens in batched}) > 2
    assert any(tokens[-1] == tokenizer.eos_token_id for tokens in batched)


def test_recipe_overrides_the_models_own_generation_config():
    """One beam and no n-gram rule are transformers' defaults, which `generate` takes for values that were not set."""
    recipe = Recipe(
        model={"name": str(ROOT / "models/base")},
        data={"train": "unused.jsonl"},
        generation={"num_beams": 1, "max_new_tokens": 24},
    )
    model, tokenizer = load_base(recipe.model)
    inputs = encode(tokenizer, [row["document"] for row in gazette("validation")[:4]], recipe)
    plain = generate(model.eval(), tokenizer, inputs, recipe, "")
    model.generation_config.update(num_beams=3, no_repeat_ngram_size=1, min_new_tokens=20)
    assert generate(model, tokenizer, inputs, recipe, "") == plain


@pytest.mark.parametrize(
    ("tokens", "end", "expected"),
    [
        ([5, 6, 1, 0, 0], 1, [5, 6, 1]),
        ([5, 6, 0, 0], 1, [5, 6]),  # stopped by max_new_tokens
        ([0, 5, 0, 6, 1], 1, [5, 6, 1]),  # written by the model
        ([5, 6, 7, 1], [1, 7], [5, 6, 7]),
        ([5, 6, 0, 0], 0, [5, 6, 0]),  # one token for both
        ([], 1, []),
    ],
)
def test_tokens_of_a_summary_are_those_up_to_its_end_without_padding(tokens, end, expected):
    assert strip_padding(tokens, end, padding=0) == expected
