"""Requests and responses as JSON."""

import pytest

from bento.errors import ServiceError
from bento.schema import MAX_TEXTS, BatchRequest, SummarizeRequest, parse_request
from precis.params import GenerationFields


def test_left_out_parameters_are_left_to_the_bundle():
    params = parse_request(SummarizeRequest, b'{"text": "x", "num_beams": 2, "evidence": true}').generation_params()
    assert (params.num_beams, params.max_new_tokens, params.long_text) == (2, None, "split")


@pytest.mark.parametrize("model", [SummarizeRequest, BatchRequest])
def test_requests_take_every_generation_parameter(model):
    assert GenerationFields.model_fields.keys() < model.model_fields.keys()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b'{"text": "\xff"}', 400, None),
        (b'{"text": "x", "timeout_ms": 0}', 422, "timeout_ms"),
        (b'{"text": "x", "length_penalty": NaN}', 422, "length_penalty"),
        (b'{"text": "x", "evidence": 1}', 422, "evidence"),
    ],
)
def test_invalid_request_names_its_field(body, status, field):
    with pytest.raises(ServiceError) as caught:
        parse_request(SummarizeRequest, body)
    assert (caught.value.status, caught.value.field) == (status, field)


def test_batch_has_a_limit():
    parse_request(BatchRequest, b'{"texts": [' + b'"x",' * (MAX_TEXTS - 1) + b'"x"]}')
    with pytest.raises(ServiceError):
        parse_request(BatchRequest, b'{"texts": [' + b'"x",' * MAX_TEXTS + b'"x"]}')
