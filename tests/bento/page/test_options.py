"""The options: what is sent to the engine, and bounds that hold without the browser."""

import gradio as gr
import pytest

from bento.page import options
from precis import GenerationError, GenerationParams
from precis.params import bounds


def test_only_what_differs_from_the_bundle_is_requested(engine):
    defaults = options.default_params(engine)
    length = {"write": options.WRITTEN, "extract": str(defaults.sentences)}
    same = (
        length[defaults.mode],
        defaults.max_new_tokens,
        defaults.min_new_tokens,
        defaults.num_beams,
        defaults.length_penalty,
    )
    assert options.to_params(defaults, *same, "Chunk by chunk") == GenerationParams()
    changed = {"max_new_tokens": 40, "min_new_tokens": 2, "num_beams": 4, "long_text": "refuse"}
    for length, mode in (("3", {"mode": "extract", "sentences": 3}), (options.WRITTEN, {"mode": "write"})):
        params = options.to_params(defaults, length, 40, 2, 4, defaults.length_penalty, "Refuse it")
        mode = {name: value for name, value in mode.items() if value != getattr(defaults, name)}
        assert params == GenerationParams(**mode, **changed)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("1", 16, 24, 1, 1, ""), "Shortest is 24 tokens, more than Longest, which is 16"),
        (("1", 9999, 0, 1, 1, ""), "max_new_tokens should be"),
        (("9", 64, 0, 1, 1, ""), "sentences should be"),
        (("1", 64, 0, 99, 1, ""), "num_beams should be"),
        (("1", 64, 0, None, 1, ""), "Options should be numbers"),
        (("1", float("nan"), 0, 1, 1, ""), "Options should be numbers"),
        (("many", 64, 0, 1, 1, ""), "Options should be numbers"),
        ((None, 64, 0, 1, 1, ""), "Options should be numbers"),
    ],
)
def test_bounds_hold_without_the_browser(engine, values, message):
    with pytest.raises(GenerationError, match=message):
        options.to_params(options.default_params(engine), *values)


def test_sliders_stay_within_the_engines_bounds(engine):
    with gr.Blocks():
        *sliders, _ = options.build_advanced(options.default_params(engine))
    for name, slider in zip(options.Options._fields[1:], sliders, strict=False):
        low, high = bounds(name)
        assert low <= slider.minimum <= slider.value <= slider.maximum <= high
