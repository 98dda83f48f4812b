"""Bounds of the generation parameters, and how a request and a bundle decide their values."""

import pytest

from precis import BundleError, GenerationError, GenerationParams
from precis.params import check_generation_config, resolve

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
