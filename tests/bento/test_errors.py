"""Errors of the engine and of validation as answers."""

import json

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bento.errors import ServiceError, from_engine_error, from_validation_error
from bento.schema import BatchRequest, SummarizeRequest, parse_request
from precis import DeadlineExceeded, EngineClosed, EngineError, EngineFull, GenerationError, TextError, TooMuchWork


@pytest.mark.parametrize(
    ("error", "status", "type_", "field"),
    [
        (GenerationError("num_beams", "is too large."), 422, "invalid_field", "num_beams"),
        (TextError("The text is empty."), 422, "invalid_field", "text"),
        (EngineFull(2.1), 429, "full", None),
        (DeadlineExceeded(), 504, "timeout", None),
        (EngineClosed(), 503, "stopping", None),
        (TooMuchWork(90, 60), 422, "too_much_work", None),
        (EngineError("the secret text"), 500, "internal", None),
    ],
)
def test_engine_errors_have_a_status_and_a_type(error, status, type_, field):
    answer = from_engine_error(error)
    assert (answer.status, answer.type, answer.field) == (status, type_, field)
    assert "secret" not in answer.message


def test_full_engine_says_when_to_try_again():
    assert from_engine_error(EngineFull(2.1)).response().headers["retry-after"] == "3"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    text: str = Field(min_length=1)
    texts: list[str] = Field([], max_length=1)


@pytest.mark.parametrize(
    ("body", "status", "type_", "message"),
    [
        ("{", 400, "invalid_json", "The body is not valid JSON: EOF while parsing an object at line 1 column 1."),
        ("[]", 400, "invalid_json", "The body should be a JSON object."),
        ("{}", 422, "missing_field", "The field text is missing."),
        ('{"text": 3}', 422, "invalid_field", "text: should be a valid string."),
        (
            '{"text": "x", "texts": ["a", "b"]}',
            422,
            "invalid_field",
            "texts: should have at most 1 item after validation, not 2.",
        ),
        ('{"text": "x", "a": 1}', 422, "unknown_field", "There is no field a."),
        ('{"text": "x", "a\\n": 1}', 422, "unknown_field", "The body has a field that no request has."),
        ('{"text": "x", "": 1}', 422, "unknown_field", "The body has a field that no request has."),
        (f'{{"text": "x", "{"a" * 65}": 1}}', 422, "unknown_field", "The body has a field that no request has."),
    ],
)
def test_validation_errors_are_one_sentence(body, status, type_, message):
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json(body)
    error = from_validation_error(caught.value)
    assert (error.status, error.type, error.message) == (status, type_, message)


TEXT = '{"text": "Der Rat tagte über die Brücke."}'


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_body_in_another_encoding_is_refused(encoding):
    with pytest.raises(ServiceError) as caught:
        parse_request(SummarizeRequest, TEXT.encode(encoding))
    assert (caught.value.status, caught.value.message) == (400, "The body is not in UTF-8, which JSON has to be.")
    assert parse_request(SummarizeRequest, TEXT.encode()).text.endswith("Brücke.")


def test_byte_order_mark_is_named():
    with pytest.raises(ServiceError, match="byte-order mark"):
        parse_request(SummarizeRequest, TEXT.encode("utf-8-sig"))


@pytest.mark.parametrize("model", [SummarizeRequest, BatchRequest])
def test_body_of_very_many_fields_is_refused_at_little_cost(model) -> None:
    body = json.dumps({f"k{number}": 1 for number in range(1000)}).encode()
    with pytest.raises(ServiceError) as caught:
        parse_request(model, body)
    assert (caught.value.status, caught.value.type) == (422, "unknown_field")
    assert caught.value.message == "The body has more fields than any request has."
