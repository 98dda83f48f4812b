"""Greedy and beam search against transformers' `generate`, text by text and token by token."""

import asyncio
import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from transformers import GenerationConfig

from precis import Engine, GenerationError, GenerationParams
from precis.decoding.search import Beam, _top
from precis.params import resolve
from tests.support.engines import LIMIT, ODD, SETTINGS, TEXTS, reference, seal


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_batch_says_what_transformers_says_of_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, GenerationParams(**settings, long_text="truncate"))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_beams_tell_as_they_go_what_no_later_step_takes_back(early_stopping):
    config = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    settings = resolve(GenerationParams(num_beams=3, max_new_tokens=20, early_stopping=early_stopping), config)
    draw, early = np.random.default_rng(5), 0
    for _ in range(40):
        search, told = Beam(settings), [[]]
        while not search.finished:
            search.advance(draw.normal(scale=3, size=(3, 40)).astype(np.float32))
            told.append(search.tokens())
        assert all(later[: len(sooner)] == sooner for sooner, later in pairwise(told))
        early += any(told[:-1])
    assert early > 20


def test_settings_of_all_kinds_share_a_batch(pair):
    model, tokenizer, engine = pair

    async def all_at_once():
        jobs = [
            engine.summarize(text, GenerationParams(**settings, long_text="truncate"))
            for text, settings in zip(TEXTS, SETTINGS, strict=False)
        ]
        return await asyncio.gather(*jobs)

    for text, settings, summary in zip(TEXTS, SETTINGS, asyncio.run(all_at_once()), strict=False):
        assert summary.token_ids == reference(model, tokenizer, text, settings)[0]


@pytest.mark.parametrize(
    "rules",
    [
        {"forced_bos_token_id": 40, "begin_suppress_tokens": [41, 42], "suppress_tokens": [43, 1]},
        {"forced_eos_token_id": 1, "suppress_tokens": [3, 5]},
        {"forced_eos_token_id": [7], "decoder_start_token_id": 9},
        {"eos_token_id": [1, 300, 301, 302], "min_length": 6, "max_length": 15},
    ],
    ids=lambda rules: "-".join(rules),
)
@pytest.mark.parametrize("beams", [1, 3])
def test_what_the_bundle_forces_and_forbids_is_done_as_transformers_does_it(pair, tmp_path, rules, beams):
    model, tokenizer, engine = pair
    own = shutil.copytree(engine.bundle.folder, tmp_path / "own")
    config = json.loads((own / "generation_config.json").read_text()) | {"max_length": 14} | rules
    (own / "generation_config.json").write_text(json.dumps(config))
    seal(own)
    changed = Engine.load(own)
    settings = GenerationConfig(**config, num_beams=beams)
    for text in TEXTS[:4]:
        inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
        tokens = model.generate(**inputs, generation_config=settings)[0].tolist()[1:]
        ends = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
        expected = [token for token in tokens if token != 0 and token not in ends]
        found = changed.generate([text], GenerationParams(num_beams=beams, long_text="truncate"))[0]
        assert found.token_ids == expected
    changed.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 513),
        ("max_new_tokens", True),
        ("max_new_tokens", 3.0),
        ("num_beams", 9),
        ("min_new_tokens", -1),
        ("length_penalty", float("nan")),
        ("repetition_penalty", 0),
        ("early_stopping", "later"),
        ("long_text", "drop"),
    ],
)
def test_a_setting_out_of_bounds_is_named(field, value):
    with pytest.raises(GenerationError) as error:
        GenerationParams(**{field: value})
    assert error.value.field == field
    assert field in str(error.value)


def test_limits_that_clash_are_refused(engine):
    with pytest.raises(GenerationError, match="min_new_tokens"):
        engine.generate(["A text."], GenerationParams(min_new_tokens=9, max_new_tokens=8))


@pytest.mark.parametrize(("size", "count"), [(1, 4), (20, 4), (129, 3), (1000, 8), (32128, 12), (4 * 32128, 8)])
def test_the_largest_are_found_in_order_the_first_of_equals_first(size, count):
    draw = np.random.default_rng(size)
    for digits in (None, 1, 0):  # ever more equals
        values = draw.standard_normal(size).astype(np.float32)
        values = values if digits is None else values.round(digits)
        values[draw.integers(0, size, size // 3)] = -np.inf
        assert _top(values, count).tolist() == np.lexsort((np.arange(size), -values))[:count].tolist()
