"""Search settings: what a caller may ask for, and what a bundle's generation_config.json fills in."""

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True, kw_only=True)
class GenerationParams:
    """One request's settings, under transformers' names; None takes what the bundle says.

    `long_text` says what happens to a text longer than the model reads: "split" summarizes it piece by piece and then
    the summaries, "truncate" reads its beginning, "refuse" raises TextError. Raises GenerationError out of bounds.
    """

    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None
    no_repeat_ngram_size: int | None = None
    repetition_penalty: float | None = None
    long_text: Literal["split", "truncate", "refuse"] = "split"

    def __post_init__(self) -> None:
        _whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)
        _whole("min_new_tokens", self.min_new_tokens, 0, MAX_NEW_TOKENS)
        _whole("num_beams", self.num_beams, 1, MAX_BEAMS)
        _whole("no_repeat_ngram_size", self.no_repeat_ngram_size, 0, MAX_NEW_TOKENS)
        _number("length_penalty", self.length_penalty, -10.0, 10.0)
        _number("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        if self.early_stopping is not None and self.early_stopping not in (True, False, "never"):
            raise GenerationError("early_stopping", "should be true, false or 'never'.")
        if self.long_text not in ("split", "truncate", "refuse"):
            raise GenerationError("long_text", "should be 'split', 'truncate' or 'refuse'.")


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


def _whole(field: str, value: Any, low: int, high: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise GenerationError(field, f"should be a whole number from {low} to {high}.")


def _number(field: str, value: Any, low: float, high: float) -> None:
    if value is not None and (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise GenerationError(field, f"should be a number from {low:g} to {high:g}.")
