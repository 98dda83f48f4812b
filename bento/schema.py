"""What goes over the wire: requests, answers and errors."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine import Generation, Summary
from engine.generation import MAX_BEAMS, MAX_NEW_TOKENS


class SummarizeRequest(BaseModel):
    """A text and how to summarize it. Settings that are left out come from the model's bundle."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text: str = Field(min_length=1, description="The document to be summarized.")
    max_new_tokens: int | None = Field(None, ge=1, le=MAX_NEW_TOKENS, description="Longest summary, in tokens.")
    min_new_tokens: int | None = Field(None, ge=0, le=MAX_NEW_TOKENS, description="Shortest summary, in tokens.")
    num_beams: int | None = Field(None, ge=1, le=MAX_BEAMS, description="Beams; 1 is greedy search.")
    length_penalty: float | None = Field(None, ge=-10, le=10, description="Beams: above 0 favours longer summaries.")
    early_stopping: bool | Literal["never"] | None = Field(None, description="Beams: when to stop looking further.")
    no_repeat_ngram_size: int | None = Field(
        None, ge=0, le=MAX_NEW_TOKENS, description="No run of so many tokens comes twice; 0 allows all."
    )
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=100, description="Over 1 makes tokens already used less likely."
    )
    long_text: Literal["split", "truncate", "refuse"] = Field(
        "split", description="What to do with a text longer than the model reads: summarize it piece by piece and then "
        "the summaries, read its beginning only, or refuse it."
    )  # fmt: skip

    def generation(self) -> Generation:
        """The engine's form of the settings."""
        return Generation(**self.model_dump(exclude={"text"}))


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

    @classmethod
    def of(cls, summary: Summary, model: str) -> "SummarizeAnswer":
        return cls(
            summary=summary.text,
            model=model,
            input_tokens=summary.input_tokens,
            output_tokens=summary.output_tokens,
            truncated=summary.truncated_tokens > 0,
            truncated_tokens=summary.truncated_tokens,
            chunks=summary.pieces,
            finish_reason=summary.finish_reason,
        )


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
        return 422, error_body("unknown_field", f"There is no field {field}.", field)
    if first["type"] == "missing":
        return 422, error_body("missing_field", f"The field {field} is missing.", field)
    message = first["msg"].removeprefix("Input ").removeprefix("String ")
    return 422, error_body("invalid_field", f"{field}: {message}.", field)
