"""Which differences between two summaries are ties."""

import json

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from export.parity.ties import is_tie, sequence_score
from finetune.data.tokenizing import encode
from finetune.evaluation.scoring import DEFAULTS, generate, generate_by
from finetune.recipe_io import parse_recipe
from tests.conftest import gazette


def test_only_a_token_with_an_equal_pytorch_score_is_a_tie(tiny_run):
    """Two tokens get the same embedding, which is the output layer as well, so PyTorch scores them alike."""
    recipe = parse_recipe(json.loads((tiny_run / "run.json").read_text())["recipe"])
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
    (ids,) = encode(tokenizer, [gazette("validation")[0]["document"]], recipe)
    (tokens,) = generate(model, tokenizer, [ids], recipe, "")
    step = 4
    twin, other = 15001, 15002
    assert not {twin, other} & set(tokens)
    with torch.no_grad():
        model.shared.weight[twin] = model.shared.weight[tokens[step]]
    (expected,) = generate(model, tokenizer, [ids], recipe, "")
    assert expected[:step] == tokens[:step]
    swapped = twin if expected[step] == tokens[step] else tokens[step]
    assert is_tie(model, ids, expected, [*expected[:step], swapped, *expected[step + 1 :]], recipe)
    assert not is_tie(model, ids, expected, [*expected[:step], other, *expected[step + 1 :]], recipe)
    assert not is_tie(model, ids, expected, [*expected[:step], 1], recipe)
    assert not is_tie(model, ids, expected, expected, recipe)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_empty_summary_and_equal_tokens_are_no_tie(tiny_run, num_beams):
    content = json.loads((tiny_run / "run.json").read_text())["recipe"]
    recipe = parse_recipe({**content, "generation": {"num_beams": num_beams, "max_new_tokens": 5}})
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
    for expected, actual in (([], [5, 1]), ([5, 1], []), ([], []), ([5, 1], [5, 1])):
        assert not is_tie(model, [9, 8, 1], expected, actual, recipe)


@pytest.mark.parametrize("settings", [{}, {"length_penalty": 2.0}, {"repetition_penalty": 1.4}])
def test_score_of_a_summary_is_that_of_transformers_beam_search(tiny_run, settings):
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged").eval()
    config = GenerationConfig(
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
        max_new_tokens=7,
        return_dict_in_generate=True,
        output_scores=True,
        **DEFAULTS | {"num_beams": 3} | settings,
    )
    generated = generate_by(config, model, input_ids=torch.tensor([[9, 8, 700, 1]]))
    tokens = generated.sequences[0, 1:].tolist()
    score = sequence_score(model, [9, 8, 700, 1], tokens, config)
    assert score == pytest.approx(float(generated.sequences_scores[0]), rel=1e-5)
