"""Generation parameters: what a request may set, with bounds and help texts, and how a bundle fills in the rest.

`GenerationFields` is the one definition: the recipe, the HTTP schema and the page take bounds and help texts from it.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from precis.errors import BundleError, GenerationError

MAX_NEW_TOKENS = 512
MAX_BEAMS = 8
MAX_SENTENCES = 5

# Keys of generation_config.json that the engine implements, and those that do not change greedy or beam search.
TOKEN_KEYS = {
    "decoder_start_token_id", "eos_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id",
    "suppress_tokens", "begin_suppress_tokens",
}  # fmt: skip
SUPPORTED_KEYS = TOKEN_KEYS | {
    "max_new_tokens", "max_length", "min_new_tokens", "min_length", "num_beams", "length_penalty", "early_stopping",
    "no_repeat_ngram_size", "repetition_penalty", "mode", "sentences", "rerank",
}  # fmt: skip
IGNORED_KEYS = {
    "_from_model_config", "transformers_version", "bos_token_id", "use_cache", "temperature", "top_k", "top_p",
    "typical_p", "epsilon_cutoff", "eta_cutoff", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "cache_implementation", "trust_remote_code",
}  # fmt: skip


class GenerationFields(BaseModel):
    """The generation parameters under transformers' names; None stands for the bundle's value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    mode: Literal["extract", "write"] | None = Field(
        None,
        description="`write` generates a summary; `extract` chooses sentences of the text by the model's "
        "sentence ranker, or by their probability, and uses `sentences` and `length_penalty` only.",
    )
    sentences: int | None = Field(
        None, ge=1, le=MAX_SENTENCES, description="Extraction: how many sentences of the text to choose."
    )
    max_new_tokens: int | None = Field(None, ge=1, le=MAX_NEW_TOKENS, description="Longest summary, in tokens.")
    min_new_tokens: int | None = Field(None, ge=0, le=MAX_NEW_TOKENS, description="Shortest summary, in tokens.")
    num_beams: int | None = Field(None, ge=1, le=MAX_BEAMS, description="Beams; 1 is greedy search.")
    length_penalty: float | None = Field(
        None, ge=-10, le=10, description="Beam search and extraction: above 0 favours longer summaries."
    )
    early_stopping: bool | Literal["never"] | None = Field(
        None, description="Beam search: when to stop looking for better summaries (true, false or never)."
    )
    rerank: Literal["none", "grounding"] | None = Field(
        None,
        description="Beam search: `grounding` chooses, of the finished beams, the one with the fewest numbers and "
        "names that the text lacks and joined pieces of it, and of equal ones the most probable.",
    )
    no_repeat_ngram_size: int | None = Field(
        None, ge=0, le=MAX_NEW_TOKENS, description="No run of so many tokens occurs twice; 0 allows all."
    )
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=100, description="Above 1 makes tokens that were already used less likely."
    )


def field_with_default(name: str, default: object) -> Any:
    """The field `name` of `GenerationFields` with another default, for a class that extends it."""
    field = copy.copy(GenerationFields.model_fields[name])
    field.default = default
    return field


class RequestFields(GenerationFields):
    """What one request may set: the generation parameters, and what happens to a text that is too long or too short."""

    long_text: Literal["split", "truncate", "refuse"] = Field(
        "split",
        description="A text longer than the model reads: `split` summarizes it chunk by chunk and then the summaries, "
        "`truncate` reads its beginning only, `refuse` answers with an error.",
    )
    passthrough: bool = Field(
        True,
        description="Answer without the model a text that is short already (one sentence, or under 25 words), with the "
        "text itself, and one in a language that the model has not learned, with its beginning.",
    )


class TrustFields(BaseModel):
    """What one request may ask about how far its summary can be trusted (docs/trust.md)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    evidence: bool = Field(
        False,
        description="Add the sentences of the text that support the summary, the numbers and names in the summary "
        "that do not occur in the text, and which of its words are copied from where. Words are compared, not "
        "meanings.",
    )
    min_trust: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The least trust of a summary that is answered. It needs a bundle with a certificate for the mode, "
        "and the bundle's own generation parameters.",
    )
    below_trust: Literal["extract", "refuse"] = Field(
        "extract",
        description="Instead of a summary below `min_trust`: `extract` answers with the best sentence of the text, "
        "`refuse` with an error.",
    )


class TrustParams(TrustFields):
    """The checked values of `TrustFields`. Raises GenerationError for a value out of bounds or of the wrong type."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _generation_error(error) from None


class GenerationParams(RequestFields):
    """The parameters of one request. Raises GenerationError for a value out of bounds or of the wrong type."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _generation_error(error) from None


@dataclass(frozen=True)
class ResolvedParams:
    """A request's parameters with every value decided: the request's, the bundle's or transformers' default.

    The names are transformers'; a plural holds every token of a value that may be one token or a list of them.
    """

    mode: Literal["extract", "write"]
    sentences: int
    max_new_tokens: int
    min_new_tokens: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | str
    rerank: Literal["none", "grounding"]
    no_repeat_ngram_size: int
    repetition_penalty: float
    decoder_start_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    forced_bos_token_id: int | None
    forced_eos_token_ids: tuple[int, ...]
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]

    @property
    def reranks(self) -> bool:
        """Whether a summary is chosen among the finished beams by its grounding."""
        return self.rerank == "grounding" and self.mode == "write" and self.num_beams > 1

    @functools.cached_property
    def has_no_processors(self) -> bool:
        """Whether no logits processor changes the model's own scores."""
        return self.processors_only_set_minimum and not self.min_new_tokens

    @functools.cached_property
    def processors_only_set_minimum(self) -> bool:
        """Whether no logits processor applies but the one that suppresses end tokens before `min_new_tokens`."""
        return (
            self.repetition_penalty == 1.0
            and not self.no_repeat_ngram_size
            and self.forced_bos_token_id is None
            and not (self.forced_eos_token_ids or self.suppress_tokens or self.begin_suppress_tokens)
        )

    def strip_special_tokens(self, token_ids: list[int]) -> list[int]:
        """`token_ids` without padding and end tokens."""
        return [token for token in token_ids if token != self.pad_token_id and token not in self.eos_token_ids]


def check_generation_config(config: dict[str, Any]) -> None:
    """Raises BundleError if a generation_config.json asks for a search that the engine does not implement, or has a
    value that no request may have."""
    for key, value in config.items():
        has_effect = value is True or value not in (None, False, 0, 1, [], "")  # 1 is a neutral factor or count
        if has_effect and key not in SUPPORTED_KEYS | IGNORED_KEYS:
            raise BundleError(f"generation_config.json sets {key}={value!r}, which this engine does not support.")
    for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        if config.get(key) is None:
            raise BundleError(f"generation_config.json lacks {key}.")
    values = {name: config[name] for name in GenerationFields.model_fields if config.get(name) is not None}
    for length, tokens in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        # transformers counts the decoder's start token in a length, and 0 is its smallest one.
        if isinstance(config.get(length), int) and tokens not in values:
            values[tokens] = max(config[length] - 1, 0 if length == "min_length" else -1)
    try:
        GenerationParams(**values)
    except GenerationError as error:
        raise BundleError(f"generation_config.json: {error}") from None


def check_token_ids(config: dict[str, Any], vocab_size: int) -> None:
    """Raises BundleError if a generation_config.json names a token that a vocabulary of `vocab_size` tokens lacks."""
    for key in sorted(TOKEN_KEYS):
        tokens = config.get(key)
        for token in tokens if isinstance(tokens, list) else [tokens]:
            if token is not None and not (type(token) is int and 0 <= token < vocab_size):
                raise BundleError(f"generation_config.json: {key} should be from 0 to {vocab_size - 1}, not {token!r}.")


def resolve(params: GenerationParams, config: dict[str, Any]) -> ResolvedParams:
    """The request's `params` over the bundle's generation_config.json over transformers' defaults.

    Raises GenerationError if min_new_tokens of the request is above the limit that results.
    """

    def value_of(name: str, default: Any) -> Any:
        value = getattr(params, name)
        if value is not None:
            return value
        return default if config.get(name) is None else config[name]

    # transformers counts the decoder's start token in max_length and min_length; its default length is 20.
    max_new_tokens = value_of("max_new_tokens", (config.get("max_length") or 20) - 1)
    min_new_tokens = value_of("min_new_tokens", max(0, (config.get("min_length") or 0) - 1))
    if min_new_tokens > max_new_tokens:
        # A request's maximum wins over the bundle's minimum; a request's own minimum above its maximum is a mistake.
        if params.min_new_tokens is not None:
            message = f"is {min_new_tokens}, more than max_new_tokens, which is {max_new_tokens}."
            raise GenerationError("min_new_tokens", message)
        min_new_tokens = max_new_tokens
    return ResolvedParams(
        mode=value_of("mode", "write"),
        sentences=value_of("sentences", 1),
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        num_beams=value_of("num_beams", 1),
        length_penalty=value_of("length_penalty", 1.0),
        early_stopping=value_of("early_stopping", False),
        rerank=value_of("rerank", "none"),
        no_repeat_ngram_size=value_of("no_repeat_ngram_size", 0),
        repetition_penalty=value_of("repetition_penalty", 1.0),
        decoder_start_token_id=config["decoder_start_token_id"],
        eos_token_ids=_token_ids(config["eos_token_id"]),
        pad_token_id=config["pad_token_id"],
        forced_bos_token_id=config.get("forced_bos_token_id"),
        forced_eos_token_ids=_token_ids(config.get("forced_eos_token_id")),
        suppress_tokens=_token_ids(config.get("suppress_tokens")),
        begin_suppress_tokens=_token_ids(config.get("begin_suppress_tokens")),
    )


def _token_ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


# What may be given for those parameters that are no numbers.
_VALUES = {
    "mode": "'extract' or 'write'",
    "early_stopping": "true, false or 'never'",
    "rerank": "'none' or 'grounding'",
    "passthrough": "true or false",
    "long_text": "'split', 'truncate' or 'refuse'",
    "evidence": "true or false",
    "below_trust": "'extract' or 'refuse'",
}


def _generation_error(error: ValidationError) -> GenerationError:
    """Pydantic's first error as a sentence; the bounds come from the field."""
    name = str(error.errors(include_input=False, include_url=False)[0]["loc"][0])
    field = (RequestFields.model_fields | TrustFields.model_fields).get(name)
    if field is None:
        return GenerationError(name, "is not a generation parameter.")
    if name in _VALUES:
        return GenerationError(name, f"should be {_VALUES[name]}.")
    low, high = bounds(name)
    kind = "a number" if field.annotation == float | None else "a whole number"
    return GenerationError(name, f"should be {kind} from {low:g} to {high:g}.")


def bounds(name: str) -> tuple[float, float]:
    """The smallest and the largest allowed value of the numeric parameter `name`."""
    metadata = (GenerationFields.model_fields | TrustFields.model_fields)[name].metadata
    low = next(item.ge for item in metadata if hasattr(item, "ge"))
    high = next(item.le for item in metadata if hasattr(item, "le"))
    return low, high
