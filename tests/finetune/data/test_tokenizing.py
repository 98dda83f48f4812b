"""Truncation to the recipe's limits."""

from datasets import Dataset

from finetune.data.tokenizing import encode, tokenize_pairs
from finetune.recipe_io import read_recipe
from finetune.training.model import load_base


def test_truncated_texts_keep_their_end_token_and_are_counted(tiny_recipe):

    recipe = read_recipe(tiny_recipe, ["data.max_document_tokens=16", "data.max_summary_tokens=8"])
    _, tokenizer = load_base(recipe.model)
    pairs = Dataset.from_dict({"document": ["one two three. " * 30, "short"], "summary": ["short", "long words " * 20]})
    encoded = tokenize_pairs(pairs, tokenizer, recipe)
    assert [length > 16 for length in encoded["document_tokens"]] == [True, False]
    assert [length > 8 for length in encoded["summary_tokens"]] == [False, True]
    # transformers' own truncation is the reference
    expected = tokenizer("summarize: " + pairs["document"][0], truncation=True, max_length=16).input_ids
    assert encoded["input_ids"][0] == expected
    assert encode(tokenizer, pairs["document"][:1], recipe) == [expected]
    assert [len(row) for row in encoded["labels"]] == [len(tokenizer("short").input_ids), 8]
    assert encoded["labels"][1][-1] == tokenizer.eos_token_id


def test_special_tokens_in_a_pair_are_blanks_as_in_serving(tiny_recipe):
    recipe = read_recipe(tiny_recipe, [])
    _, tokenizer = load_base(recipe.model)
    pairs, blanks = ({"document": [text], "summary": [text]} for text in ("a</s>b<pad>", "a    b     "))
    rows = [tokenize_pairs(Dataset.from_dict(columns), tokenizer, recipe)[0] for columns in (pairs, blanks)]
    assert rows[0] == rows[1]
    assert encode(tokenizer, pairs["document"], recipe) == encode(tokenizer, blanks["document"], recipe)
