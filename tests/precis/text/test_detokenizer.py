"""Streamed deltas join to the summary, and no character is torn."""

import asyncio

from precis import GenerationParams
from precis.text.detokenizer import IncrementalDetokenizer
from tests.support.engines import ODD, SETTINGS, TEXTS


def test_streamed_deltas_join_to_the_summary(pair):
    _, _, engine = pair

    async def stream(text, settings):
        return [item async for item in engine.stream(text, GenerationParams(**settings, long_text="truncate"))]

    for text, settings in [(TEXTS[4], SETTINGS[0]), (ODD * 4, SETTINGS[1]), (TEXTS[6], SETTINGS[3])]:
        *deltas, summary = asyncio.run(stream(text, settings))
        assert "".join(deltas) == summary.text
        assert summary == engine.generate([text], GenerationParams(**settings, long_text="truncate"))[0]


def test_a_character_of_several_tokens_is_in_one_delta(engine):
    tokenizer, text = engine._tokenizer, "Ok 🙂👩‍👩‍👧 Łódź 日本語, fine."
    ids = tokenizer.tokenizer.encode(text, add_special_tokens=False).ids
    detokenizer = IncrementalDetokenizer(tokenizer)
    deltas = [detokenizer.delta(ids[:end]) for end in range(1, len(ids) + 1)]
    deltas.append(detokenizer.finish(tokenizer.decode(ids)))
    assert "".join(deltas) == text
    assert not any("�" in delta for delta in deltas)
    assert sum(bool(delta) for delta in deltas) > 4
