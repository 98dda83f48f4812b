"""Errors of the engine and of validation as answers."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bento.errors import from_engine_error, from_validation_error
from precis import DeadlineExceeded, EngineClosed, EngineError, EngineFull, GenerationError, TextError


@pytest.mark.parametrize(
    ("error", "status", "type_", "field"),
    [
        (GenerationError("num_beams", "is too large."), 422, "invalid_field", "num_beams"),
        (TextError("The text is empty."), 422, "invalid_field", "text"),
        (EngineFull(2.1), 429, "full", None),
        (DeadlineExceeded(), 504, "timeout", None),
        (EngineClosed(), 503, "stopping", None),
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


@pytest.mark.parametrize(
    ("body", "status", "type_", "message"),
    [
        ("{", 400, "invalid_json", "The body is not valid JSON: EOF while parsing an object at line 1 column 1."),
        ("[]", 400, "invalid_json", "The body should be a JSON object."),
        ("{}", 422, "missing_field", "The field text is missing."),
        ('{"text": 3}', 422, "invalid_field", "text: should be a valid string."),
        ('{"text": "x", "a": 1}', 422, "unknown_field", "There is no field a."),
        ('{"text": "x", "a\\n": 1}', 422, "unknown_field", "The body has a field that no request has."),
        (f'{{"text": "x", "{"a" * 65}": 1}}', 422, "unknown_field", "The body has a field that no request has."),
    ],
)
def test_validation_errors_are_one_sentence(body, status, type_, message):
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json(body)
    error = from_validation_error(caught.value)
    assert (error.status, error.type, error.message) == (status, type_, message)
