"""The JSON of requests and responses, as pydantic models."""

from dataclasses import asdict
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bento import metrics
from bento.errors import from_validation_error
from precis import GenerationParams, Summary
from precis.grounding import evidence as grounding
from precis.params import RequestFields, TrustFields

MAX_TEXTS = 64
MAX_FIELDS = 32
MAX_TIMEOUT_MS = 3_600_000

RequestModel = TypeVar("RequestModel", bound=BaseModel)


class SummarizeOptions(RequestFields, TrustFields):
    """How to summarize. Parameters that are left out take the values of the model's bundle."""

    timeout_ms: int | None = Field(
        None, ge=1, le=MAX_TIMEOUT_MS, description="Answer 504 after so many milliseconds. The server's own limit "
        "applies as well."
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _check_number_of_fields(cls, data: Any) -> Any:
        # Each unknown field makes an error, and hundreds of thousands of them take seconds.
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise PydanticCustomError("too_many_fields", "a request has no more than {n} fields", {"n": MAX_FIELDS})
        return data

    def generation_params(self) -> GenerationParams:
        """The engine's parameters. Raises GenerationError for a combination that is not possible."""
        return GenerationParams(**self.model_dump(include=set(RequestFields.model_fields)))


class SummarizeRequest(SummarizeOptions):
    """A text and how to summarize it. Parameters that are left out take the values of the model's bundle."""

    text: str = Field(min_length=1, description="The document to summarize.")


class BatchRequest(SummarizeOptions):
    """Up to 64 texts, all summarized with the same parameters."""

    texts: list[str] = Field(min_length=1, max_length=MAX_TEXTS, description="The documents, in order.")


class SourceSentence(BaseModel):
    """A sentence of the text that supports the summary: text[start:end] in Unicode characters; `score` is 0 to 1."""

    text: str = Field(description="The sentence.")
    start: int = Field(description="Where it begins in the text, in Unicode characters.")
    end: int = Field(description="Where it ends.")
    score: float = Field(description="0 to 1: the share of a summary sentence's words that it covers.")


class ExtractedSentence(BaseModel):
    """A sentence of the summary: text[start:end] in Unicode characters; a higher `score` is better."""

    start: int = Field(description="Where it begins in the text, in Unicode characters.")
    end: int = Field(description="Where it ends.")
    score: float = Field(
        description="Of the bundle's sentence ranker, or without one the log-probability by length. Higher is better."
    )


class UnsupportedSpan(BaseModel):
    """A number or name at summary[start:end] that does not occur in the text."""

    text: str = Field(description="The number or name.")
    start: int = Field(description="Where it begins in the summary, in Unicode characters.")
    end: int = Field(description="Where it ends.")
    kind: Literal["number", "name"] = Field(description="What it looks like.")


class CopiedSpan(BaseModel):
    """Words that the summary has from the text: summary[start:end] is text[source_start:source_end]."""

    start: int = Field(description="Where they begin in the summary, in Unicode characters.")
    end: int = Field(description="Where they end.")
    source_start: int = Field(description="Where they begin in the text.")
    source_end: int = Field(description="Where they end.")


class Seam(BaseModel):
    """Where the summary goes on with another place of the text."""

    at: int = Field(description="Where in the summary, in characters.")
    sources: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="The pieces of the text before and after the seam, each [start, end] in characters. The first is a "
        "negation where one was left out."
    )


class NovelWord(BaseModel):
    """A word, number or name at summary[start:end] that occurs in the text in no form."""

    start: int = Field(description="Where it begins in the summary, in Unicode characters.")
    end: int = Field(description="Where it ends.")
    text: str = Field(description="The word.")


class Grounding(BaseModel):
    """What of the summary stands in the text word for word, where pieces of the text were joined, and what is new."""

    verbatim: bool = Field(description="Whether each sentence of the summary stands in the text as it is.")
    copied_share: float = Field(description="The share of the summary's words that are copied, 0 to 1.")
    seams: list[Seam] = Field(description="Where the summary joins two places of the text.")
    novel: list[NovelWord] = Field(description="Words of the summary that the text has in no form.")
    spans: list[CopiedSpan] = Field(description="Runs of words that are copied.")


class Evidence(BaseModel):
    """What in the text supports the summary, and what in the summary has no support; by comparing words."""

    sentences: list[SourceSentence] = Field(description="Sentences of the text that support the summary, best first.")
    unsupported: list[UnsupportedSpan] = Field(description="Numbers and names of the summary that the text lacks.")
    grounding: Grounding


class SummarizeResponse(BaseModel):
    """A summary, and how much of the text was read for it."""

    summary: str = Field(description="The summary.")
    model: str = Field(description="Name of the model; GET /model describes it.")
    input_tokens: int = Field(description="Tokens of the whole text with the model's prefix.")
    output_tokens: int = Field(description="Tokens of the summary.")
    truncated: bool = Field(description="Whether a part of the text was not read.")
    truncated_tokens: int = Field(description="Number of tokens that were not read.")
    chunks: int = Field(description="Number of parts the text was split into; 1 if it was read at once.")
    finish_reason: Literal["end", "length"] = Field(description="Whether the summary ended by itself or was cut.")
    already_short: bool = Field(description="Whether the text is so short that it is its own summary.")
    unsupported_language: bool = Field(
        description="Whether the text is in a language that the model has not learned; the summary is its beginning."
    )
    score: float | None = Field(
        description="The mean log-probability of the summary's tokens, its end included; null if nothing was generated."
    )
    min_token_score: float | None = Field(description="The log-probability of the least probable token, or null.")
    trust: float | None = Field(
        None, description="With a certificate in the bundle, for summaries that it covers: of those with a trust of at "
        "least 1 - a, at most the share a is wrong. 0 where nothing is known."
    )  # fmt: skip
    fallback: Literal["extract"] | None = Field(
        None, description="`extract` if the written summary was below `min_trust` and this is a sentence of the text."
    )  # fmt: skip
    extracted: list[ExtractedSentence] | None = Field(
        None, description="With mode `extract`: the sentences of the text that the summary consists of, in order."
    )
    evidence: Evidence | None = Field(None, description="Present if the request asks for it.")

    @classmethod
    def from_summary(
        cls, summary: Summary, model: str, evidence: grounding.Evidence | None, trust: float | None = None
    ) -> "SummarizeResponse":
        """The response for a summary by the model of the given name."""
        return cls(
            summary=summary.text,
            model=model,
            input_tokens=summary.input_tokens,
            output_tokens=summary.output_tokens,
            truncated=summary.truncated_tokens > 0,
            truncated_tokens=summary.truncated_tokens,
            chunks=summary.chunks,
            finish_reason=summary.finish_reason,
            score=summary.score,
            min_token_score=summary.min_token_score,
            trust=trust,
            extracted=None if summary.extracted is None else [asdict(item) for item in summary.extracted],
            already_short=summary.already_short,
            unsupported_language=summary.unsupported_language,
            evidence=None if evidence is None else Evidence(**asdict(evidence)),
        )

    def as_json(self) -> dict[str, Any]:
        """The response's JSON, without what was not asked for or has no place in the mode; scores may be null."""
        scores = {"score": self.score, "min_token_score": self.min_token_score}
        return self.model_dump(exclude_none=True) | scores


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: str = Field(description="A word that a program can act on.")
    message: str = Field(description="A sentence for a person.")
    field: str | None = Field(None, description="The field of the request that is wrong.")


class ErrorResponse(BaseModel):
    """The form of every error."""

    error: ErrorDetail


class BatchResponse(BaseModel):
    """A summary or an error for each text."""

    results: list[SummarizeResponse | ErrorResponse] = Field(description="In the order of the texts.")


def parse_request(model: type[RequestModel], body: bytes) -> RequestModel:
    """The validated request. Raises ServiceError (400 or 422)."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        metrics.rejections.labels("invalid").inc()
        raise from_validation_error(error, body) from None
