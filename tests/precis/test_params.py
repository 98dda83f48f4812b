"""Bounds of the generation parameters, and how a request and a bundle decide their values."""

import pytest

from precis import BundleError, GenerationError, GenerationParams
from precis.params import check_generation_config, check_token_ids, resolve

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 513),
        ("max_new_tokens", True),
        ("max_new_tokens", 3.0),
        ("num_beams", 9),
        ("min_new_tokens", -1),
        ("length_penalty", float("nan")),
        ("repetition_penalty", 0),
        ("early_stopping", "later"),
        ("long_text", "drop"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(field, value):
    with pytest.raises(GenerationError) as error:
        GenerationParams(**{field: value})
    assert error.value.field == field
    assert field in str(error.value)


def test_minimum_above_maximum_of_one_request_is_refused(engine):
    with pytest.raises(GenerationError, match="min_new_tokens"):
        engine.generate(["A text."], GenerationParams(min_new_tokens=9, max_new_tokens=8))


def test_maximum_of_the_request_wins_over_minimum_of_the_bundle():
    params = resolve(GenerationParams(max_new_tokens=8), CONFIG | {"min_length": 10, "max_length": 20})
    assert (params.min_new_tokens, params.max_new_tokens) == (8, 8)


@pytest.mark.parametrize("changes", [{"do_sample": True}, {"num_beam_groups": 2}, {"pad_token_id": None}], ids=str)
def test_unsupported_generation_config_is_refused_by_key(changes):
    with pytest.raises(BundleError, match=next(iter(changes))):
        check_generation_config(CONFIG | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beams": 100}, "num_beams should be a whole number from 1 to 8"),
        ({"max_new_tokens": 10**9}, "max_new_tokens should be a whole number from 1 to 512"),
        ({"max_length": 10**9}, "max_new_tokens should be a whole number from 1 to 512"),
        ({"max_length": 0}, "max_new_tokens should be a whole number from 1 to 512"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size should be"),
        ({"repetition_penalty": 0}, "repetition_penalty should be"),
    ],
    ids=str,
)
def test_impossible_numbers_of_a_generation_config_are_refused(changes, message):
    """A hundred beams would wait for rows for ever."""
    with pytest.raises(BundleError, match=message):
        check_generation_config(CONFIG | changes)


@pytest.mark.parametrize(
    "changes", [{"pad_token_id": -1}, {"eos_token_id": [1, 100]}, {"decoder_start_token_id": 1.5}], ids=str
)
def test_tokens_outside_the_vocabulary_are_refused(changes):
    check_token_ids(CONFIG | {"eos_token_id": [1, 99]}, 100)
    with pytest.raises(BundleError, match=f"{next(iter(changes))} should be from 0 to 99"):
        check_token_ids(CONFIG | changes, 100)
