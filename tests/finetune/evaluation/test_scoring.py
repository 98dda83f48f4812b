"""Summaries by PyTorch in batches are those of each document alone, to their end tokens."""

import pytest

from finetune.data.tokenizing import encode
from finetune.evaluation.scoring import generate
from finetune.recipe import Recipe
from finetune.training.model import load_base
from tests.conftest import ROOT, gazette


@pytest.mark.parametrize("beams", [1, 3])
def test_company_adds_nothing_behind_the_end(beams):
    recipe = Recipe(
        model={"name": str(ROOT / "models/base")},
        data={"train": "unused.jsonl"},
        generation={"num_beams": beams, "max_new_tokens": 48, "no_repeat_ngram_size": 3},
    )
    model, tokenizer = load_base(recipe.model)
    model.eval()
    documents = [row["document"][: 150 + 90 * i] for i, row in enumerate(gazette("validation")[:6])]
    inputs = encode(tokenizer, documents, recipe)
    together = generate(model, tokenizer, inputs, recipe, "")
    alone = [generate(model, tokenizer, [ids], recipe, "")[0] for ids in inputs]
    assert together == alone
    assert len({len(tokens) for tokens in together}) > 2
    assert any(tokens[-1] == tokenizer.eos_token_id for tokens in together)


def test_the_recipe_decides_and_not_what_the_model_was_saved_with():
    """One beam and no rule for repetitions are transformers' defaults, which it takes for settings that nobody made."""
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
