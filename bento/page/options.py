"""The search settings a visitor can change, with the bundle's own as their beginning."""

from typing import Any, NamedTuple

import gradio as gr

from precis import Engine, GenerationError, GenerationParams
from precis.params import MAX_BEAMS, ResolvedParams, resolve

LONG_TEXTS = {"Piece by piece": "split", "Read its beginning only": "truncate", "Refuse it": "refuse"}


class Options(NamedTuple):
    """The components, in the order in which `generation` takes their values."""

    longest: gr.Slider
    shortest: gr.Slider
    beams: gr.Slider
    penalty: gr.Slider
    long_text: gr.Radio


def defaults(engine: Engine) -> ResolvedParams:
    """What the bundle says."""
    return resolve(GenerationParams(), engine.bundle.generation_config)


def components(own: ResolvedParams) -> Options:
    """To be called where they are to stand."""
    longest = max(256, own.max_new_tokens)
    return Options(
        gr.Slider(8, longest, own.max_new_tokens, step=1, label="Longest", info="Tokens; a word is one or two."),
        gr.Slider(0, longest // 2, own.min_new_tokens, step=1, label="Shortest", info="Tokens; it goes on until then."),
        gr.Slider(1, MAX_BEAMS, own.num_beams, step=1, label="Beams", info="Drafts weighed at once; 1 is quickest."),
        gr.Slider(0, 3, own.length_penalty, step=0.1, label="Favour length", info="Of the drafts; above 1 the longer."),
        gr.Radio(list(LONG_TEXTS), value="Piece by piece", label="A text longer than the model reads"),
    )


def generation(own: ResolvedParams, *values: Any) -> tuple[GenerationParams, int]:
    """The engine's form of the components' values, without what the bundle says anyway, and the beams it comes to.

    Raises GenerationError; the browser's bounds are not relied upon.
    """
    longest, shortest, beams, penalty, long_text = values
    try:
        asked = {
            "max_new_tokens": int(longest),
            "min_new_tokens": int(shortest),
            "num_beams": int(beams),
            "length_penalty": float(penalty),
        }
    except (TypeError, ValueError, OverflowError):
        raise GenerationError("Options", "should be numbers.") from None
    least, most = asked["min_new_tokens"], asked["max_new_tokens"]
    if least > most:
        raise GenerationError("Shortest", f"is {least} tokens, more than Longest, which is {most}.")
    changed = {name: value for name, value in asked.items() if value != getattr(own, name)}
    return GenerationParams(**changed, long_text=LONG_TEXTS.get(long_text, "split")), asked["num_beams"]
