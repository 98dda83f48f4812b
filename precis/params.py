"""Generation parameters: what a caller may ask for, with bounds and help, and what a bundle fills in.

`GenerationFields` is the one definition; the recipe, the HTTP schema and the page read bounds and help from it.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from precis.errors import BundleError, GenerationError

MAX_NEW_TOKENS = 512
MAX_BEAMS = 8

# Keys of generation_config.json that the search below obeys, and those that do not change greedy or beam search.
OBEYED = {
    "max_new_tokens", "max_length", "min_new_tokens", "min_length", "num_beams", "length_penalty", "early_stopping",
    "no_repeat_ngram_size", "repetition_penalty", "decoder_start_token_id", "eos_token_id", "pad_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
}  # fmt: skip
WITHOUT_EFFECT = {
    "_from_model_config", "transformers_version", "bos_token_id", "use_cache", "temperature", "top_k", "top_p",
    "typical_p", "epsilon_cutoff", "eta_cutoff", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "cache_implementation", "trust_remote_code",
}  # fmt: skip


class GenerationFields(BaseModel):
    """The generation parameters under transformers' names; None leaves a value to the bundle."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    max_new_tokens: int | None = Field(None, ge=1, le=MAX_NEW_TOKENS, description="Longest summary, in tokens.")
    min_new_tokens: int | None = Field(None, ge=0, le=MAX_NEW_TOKENS, description="Shortest summary, in tokens.")
    num_beams: int | None = Field(None, ge=1, le=MAX_BEAMS, description="Beams; 1 is greedy search.")
    length_penalty: float | None = Field(
        None, ge=-10, le=10, description="Beam search: above 0 favours longer summaries."
    )
    early_stopping: bool | Literal["never"] | None = Field(
        None, description="Beam search: when to stop looking for better summaries (true, false or never)."
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
    """What one request may choose: the generation parameters, and what happens to a text that is too long."""

    long_text: Literal["split", "truncate", "refuse"] = Field(
        "split",
        description="A text longer than the model reads: `split` summarizes it chunk by chunk and then the summaries, "
        "`truncate` reads its beginning only, `refuse` answers with an error.",
    )


class GenerationParams(RequestFields):
    """One request's parameters. Raises GenerationError for a value that is out of bounds or of the wrong type."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _generation_error(error) from None


@dataclass(frozen=True)
class ResolvedParams:
    """A request's settings with nothing left open."""

    max_new_tokens: int
    min_new_tokens: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | str
    no_repeat_ngram_size: int
    repetition_penalty: float
    start: int
    ends: tuple[int, ...]
    pad: int
    forced_first: int | None
    forced_last: tuple[int, ...]
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]

    @functools.cached_property
    def plain(self) -> bool:
        """Whether no rule changes the model's own scores."""
        return (
            self.repetition_penalty == 1.0
            and not self.no_repeat_ngram_size
            and not self.min_new_tokens
            and self.forced_first is None
            and not (self.forced_last or self.suppressed or self.suppressed_first)
        )


def check_config(config: dict[str, Any]) -> None:
    """Refuses a generation_config.json that asks for a search this engine does not do. Raises BundleError."""
    for key, value in config.items():
        if key not in OBEYED | WITHOUT_EFFECT and value not in (None, False, 1, 1.0, 0, [], ""):
            raise BundleError(f"generation_config.json asks for {key}={value!r}, which this engine does not do.")
    for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        if config.get(key) is None:
            raise BundleError(f"generation_config.json lacks {key}.")


def resolve(asked: GenerationParams, config: dict[str, Any]) -> ResolvedParams:
    """The caller's settings over the bundle's over transformers' defaults. Raises GenerationError where they clash."""

    def pick(name: str, default: Any) -> Any:
        own = getattr(asked, name)
        if own is not None:
            return own
        return default if config.get(name) is None else config[name]

    # transformers counts the decoder's start token in max_length and min_length; its default length is 20.
    longest = pick("max_new_tokens", (config.get("max_length") or 20) - 1)
    shortest = pick("min_new_tokens", max(0, (config.get("min_length") or 0) - 1))
    if shortest > longest:
        # A caller's own limit wins over the bundle's floor; two limits of one caller that clash are a mistake.
        if asked.min_new_tokens is not None:
            raise GenerationError("min_new_tokens", f"is {shortest}, more than max_new_tokens, which is {longest}.")
        shortest = longest
    return ResolvedParams(
        max_new_tokens=longest,
        min_new_tokens=shortest,
        num_beams=pick("num_beams", 1),
        length_penalty=pick("length_penalty", 1.0),
        early_stopping=pick("early_stopping", False),
        no_repeat_ngram_size=pick("no_repeat_ngram_size", 0),
        repetition_penalty=pick("repetition_penalty", 1.0),
        start=config["decoder_start_token_id"],
        ends=_tokens(config["eos_token_id"]),
        pad=config["pad_token_id"],
        forced_first=config.get("forced_bos_token_id"),
        forced_last=_tokens(config.get("forced_eos_token_id")),
        suppressed=_tokens(config.get("suppress_tokens")),
        suppressed_first=_tokens(config.get("begin_suppress_tokens")),
    )


def _tokens(value: int | list[int] | None) -> tuple[int, ...]:
    return () if value is None else tuple(value) if isinstance(value, list) else (value,)


def _generation_error(error: ValidationError) -> GenerationError:
    """The first complaint of pydantic in words; the bounds come from the field."""
    name = str(error.errors(include_input=False, include_url=False)[0]["loc"][0])
    field = RequestFields.model_fields.get(name)
    if field is None:
        return GenerationError(name, "is not a generation parameter.")
    if name == "early_stopping":
        return GenerationError(name, "should be true, false or 'never'.")
    if name == "long_text":
        return GenerationError(name, "should be 'split', 'truncate' or 'refuse'.")
    low, high = bounds(name)
    kind = "a number" if field.annotation == float | None else "a whole number"
    return GenerationError(name, f"should be {kind} from {low:g} to {high:g}.")


def bounds(name: str) -> tuple[float, float]:
    """The smallest and the largest value of a numeric parameter, both allowed."""
    metadata = GenerationFields.model_fields[name].metadata
    low = next(item.ge for item in metadata if hasattr(item, "ge"))
    high = next(item.le for item in metadata if hasattr(item, "le"))
    return low, high
