"""What goes over the wire: requests, answers and errors."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from precis import GenerationParams, Summary
from precis.grounding.evidence import Evidence as Found
from precis.params import RequestFields

MAX_TEXTS = 64
MAX_TIMEOUT = 3_600_000  # ms; the server's own limit (PRECIS_TIMEOUT_SECONDS) holds besides


class SummarizeOptions(RequestFields):
    """How to summarize. What is left out comes from the model's bundle."""

    evidence: bool = Field(
        False, description="Add the sentences of the text that support the summary, and the numbers and names in the "
        "summary that the text lacks. A comparison of words, not of meaning."
    )  # fmt: skip
    timeout_ms: int | None = Field(
        None, ge=1, le=MAX_TIMEOUT, description="Answer 504 after so many milliseconds; never longer than the server's "
        "own limit."
    )  # fmt: skip

    def generation(self) -> GenerationParams:
        """The engine's form of the settings. Raises GenerationError where they clash."""
        return GenerationParams(**self.model_dump(include=set(RequestFields.model_fields)))


class SummarizeRequest(SummarizeOptions):
    """A text and how to summarize it. SummarizeOptions that are left out come from the model's bundle."""

    text: str = Field(min_length=1, description="The document to be summarized.")


class BatchRequest(SummarizeOptions):
    """Up to 64 texts, all summarized with the same settings."""

    texts: list[str] = Field(min_length=1, max_length=MAX_TEXTS, description="The documents, in order.")


class SourceSentence(BaseModel):
    """A sentence of the text, at text[start:end] (in Unicode characters); `score` is 0 to 1."""

    text: str
    start: int
    end: int
    score: float


class UnsupportedSpan(BaseModel):
    """A number or name of the summary, at summary[start:end], that the text lacks."""

    text: str
    start: int
    end: int
    kind: Literal["number", "name"]


class Evidence(BaseModel):
    """What the summary rests on, by a comparison of words."""

    sentences: list[SourceSentence]
    unsupported: list[UnsupportedSpan]


class SummarizeAnswer(BaseModel):
    """A summary and what was read to make it."""

    summary: str
    model: str = Field(description="Name of the model that answered; GET /model tells all of it.")
    input_tokens: int = Field(description="Tokens of the whole text with the model's prefix.")
    output_tokens: int
    truncated: bool = Field(description="Whether a part of the text was not read.")
    truncated_tokens: int = Field(description="How many tokens were not read.")
    chunks: int = Field(description="Parts the text was cut into; 1 when it was read whole.")
    finish_reason: Literal["end", "length"] = Field(description="Whether the summary ended by itself or was cut.")
    evidence: Evidence | None = Field(None, description="Where it was asked for.")

    @classmethod
    def of(cls, summary: Summary, model: str, found: Found | None) -> "SummarizeAnswer":
        return cls(
            summary=summary.text,
            model=model,
            input_tokens=summary.input_tokens,
            output_tokens=summary.output_tokens,
            truncated=summary.truncated_tokens > 0,
            truncated_tokens=summary.truncated_tokens,
            chunks=summary.chunks,
            finish_reason=summary.finish_reason,
            evidence=None if found is None else Evidence(**asdict(found)),
        )


class ErrorDetail(BaseModel):
    type: str = Field(description="A word that a program can act on.")
    message: str = Field(description="A sentence for a person.")
    field: str | None = Field(None, description="The field of the request that is wrong.")


class ErrorAnswer(BaseModel):
    """The one form of every error."""

    error: ErrorDetail


class BatchAnswer(BaseModel):
    """For each text, in order, its summary or its error."""

    results: Annotated[list[SummarizeAnswer | ErrorAnswer], Field(description="In the order of the texts.")]


def error_body(kind: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The one form of every error."""
    body = {"type": kind, "message": message}
    return {"error": body | {"field": field} if field else body}


def validation_error(error: ValidationError) -> tuple[int, dict[str, Any]]:
    """Status and body for the first complaint of pydantic; what the caller sent is not repeated."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        return 400, error_body(
            "invalid_json", f"The body is not valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}."
        )
    if not first["loc"]:
        return 400, error_body("invalid_json", "The body should be a JSON object.")
    field = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        if len(field) > 64 or not field.isprintable():
            return 422, error_body("unknown_field", "There is a field that no request has.")
        return 422, error_body("unknown_field", f"There is no field {field}.", field)
    if first["type"] == "missing":
        return 422, error_body("missing_field", f"The field {field} is missing.", field)
    message = first["msg"].removeprefix("Input ").removeprefix("String ")
    return 422, error_body("invalid_field", f"{field}: {message}.", field)
