"""The generation parameters that a visitor can change, starting from the bundle's own."""

from typing import Any, NamedTuple

import gradio as gr

from precis import Engine, GenerationError, GenerationParams
from precis.params import GenerationFields, ResolvedParams, bounds, resolve

MODE_CHOICES = {"Choose sentences of the text": "extract", "Write a summary": "write"}
LONG_TEXT_CHOICES = {"Chunk by chunk": "split", "Read its beginning only": "truncate", "Refuse it": "refuse"}

# Narrower than what the API allows, so that a slider can be set by hand: no summary worth reading has fewer than 8
# tokens, a longer one than 256 is no summary, and length penalties outside 0 to 3 give the shortest or longest draft.
MIN_LONGEST, MAX_LONGEST = 8, 256
MAX_LENGTH_PENALTY = 3


class Options(NamedTuple):
    """The components, in the order in which `to_params` takes their values."""

    mode: gr.Radio
    sentences: gr.Slider
    max_new_tokens: gr.Slider
    min_new_tokens: gr.Slider
    num_beams: gr.Slider
    length_penalty: gr.Slider
    long_text: gr.Radio


def default_params(engine: Engine) -> ResolvedParams:
    """The bundle's own parameters."""
    return resolve(GenerationParams(), engine.bundle.generation_config)


def build_options(defaults: ResolvedParams) -> Options:
    """Creates the components in the current Gradio container."""
    longest = max(MAX_LONGEST, defaults.max_new_tokens)

    def slider(name: str, label: str, low: float, high: float, step: float = 1) -> gr.Slider:
        info = GenerationFields.model_fields[name].description
        return gr.Slider(low, high, getattr(defaults, name), step=step, label=label, info=info)

    mode = next(label for label, mode in MODE_CHOICES.items() if mode == defaults.mode)
    return Options(
        gr.Radio(list(MODE_CHOICES), value=mode, label="How to summarize"),
        slider("sentences", "Sentences", *bounds("sentences")),
        slider("max_new_tokens", "Longest", MIN_LONGEST, longest),
        slider("min_new_tokens", "Shortest", bounds("min_new_tokens")[0], longest // 2),
        slider("num_beams", "Beams", *bounds("num_beams")),
        slider("length_penalty", "Favour length", 0, MAX_LENGTH_PENALTY, step=0.1),
        gr.Radio(list(LONG_TEXT_CHOICES), value="Chunk by chunk", label="A text longer than the model reads"),
    )


def to_params(defaults: ResolvedParams, *values: Any) -> GenerationParams:
    """The components' values, without those that the bundle sets anyway.

    Raises GenerationError: a request need not come from our sliders, so their bounds do not count as checked.
    """
    mode, sentences, longest, shortest, beams, length_penalty, long_text = values
    try:
        requested: dict[str, Any] = {
            "mode": MODE_CHOICES.get(mode, defaults.mode),
            "sentences": int(sentences),
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
