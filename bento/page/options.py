"""The generation parameters that a visitor can change, starting from the bundle's own."""

from typing import Any, NamedTuple

import gradio as gr

from bento.page.html import plural
from precis import Engine, GenerationError, GenerationParams
from precis.params import GenerationFields, ResolvedParams, bounds, resolve

LENGTHS = {1: "Short", 3: "Medium", 5: "Long"}  # by the number of sentences that are chosen
WRITTEN = "write"  # the length that stands for a summary in the model's own words
LONG_TEXT_CHOICES = {"Chunk by chunk": "split", "Read its beginning only": "truncate", "Refuse it": "refuse"}

# Narrower than what the API allows, so that a slider can be set by hand: no summary worth reading has fewer than 8
# tokens, a longer one than 256 is no summary, and length penalties outside 0 to 3 give the shortest or longest draft.
MIN_LONGEST, MAX_LONGEST = 8, 256
MAX_LENGTH_PENALTY = 3


class Options(NamedTuple):
    """The components, in the order in which `to_params` takes their values; `elem_id` is the field."""

    length: gr.Radio
    max_new_tokens: gr.Slider
    min_new_tokens: gr.Slider
    num_beams: gr.Slider
    length_penalty: gr.Slider
    long_text: gr.Radio


def default_params(engine: Engine) -> ResolvedParams:
    """The bundle's own parameters."""
    return resolve(GenerationParams(), engine.bundle.generation_config)


def build_length(defaults: ResolvedParams) -> gr.Radio:
    """Creates the choice of the summary's length in the current Gradio container."""
    counts = sorted({*LENGTHS, defaults.sentences})
    choices = [(f"{LENGTHS.get(count, 'Other')}: {plural(count, 'sentence')}", str(count)) for count in counts]
    return gr.Radio(
        [*choices, ("In its own words", WRITTEN)],
        value=WRITTEN if defaults.mode == "write" else str(defaults.sentences),
        label="Length",
        elem_id="length",
    )


def build_advanced(defaults: ResolvedParams) -> tuple[gr.Slider, gr.Slider, gr.Slider, gr.Slider, gr.Radio]:
    """Creates the other components in the current Gradio container, in the order of `Options`."""
    longest = max(MAX_LONGEST, defaults.max_new_tokens)

    def slider(name: str, label: str, low: float, high: float, step: float = 1, warning: str = "") -> gr.Slider:
        info = f"{GenerationFields.model_fields[name].description} {warning}".strip()
        return gr.Slider(low, high, getattr(defaults, name), step=step, label=label, info=info, elem_id=name)

    return (
        slider("max_new_tokens", "Longest", MIN_LONGEST, longest, warning="It is cut there, even within a sentence."),
        slider(
            "min_new_tokens",
            "Shortest",
            bounds("min_new_tokens")[0],
            longest // 2,
            warning="Forced to go on, a small model invents.",
        ),
        slider("num_beams", "Beams", *bounds("num_beams"), warning="More are slower."),
        slider("length_penalty", "Favour length", 0, MAX_LENGTH_PENALTY, step=0.1),
        gr.Radio(
            list(LONG_TEXT_CHOICES),
            value="Chunk by chunk",
            label="A text longer than the model reads",
            elem_id="long_text",
        ),
    )


def to_params(defaults: ResolvedParams, *values: Any) -> GenerationParams:
    """The components' values, without those that the bundle sets anyway.

    Raises GenerationError: a request need not come from our sliders, so their bounds do not count as checked.
    """
    length, longest, shortest, beams, length_penalty, long_text = values
    try:
        requested: dict[str, Any] = {
            "mode": "write" if length == WRITTEN else "extract",
            "sentences": defaults.sentences if length == WRITTEN else int(length),
            "max_new_tokens": int(longest),
            "min_new_tokens": int(shortest),
            "num_beams": int(beams),
            "length_penalty": float(length_penalty),
        }
    except (TypeError, ValueError, OverflowError):
        raise GenerationError("Options", "should be numbers.") from None
    low, high = requested["min_new_tokens"], requested["max_new_tokens"]
    if low > high:
        raise GenerationError("Shortest", f"is {low} tokens, more than Longest, which is {high}.")
    changed = {name: value for name, value in requested.items() if value != getattr(defaults, name)}
    return GenerationParams(**changed, long_text=LONG_TEXT_CHOICES.get(long_text, "split"))
