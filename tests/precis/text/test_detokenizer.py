"""Streamed deltas join to the summary, and no character is torn."""

import asyncio
from random import Random

import pytest
from transformers import PreTrainedTokenizerBase

from precis import GenerationParams
from precis.text.detokenizer import IncrementalDetokenizer
from precis.text.tokenizer import TextTokenizer
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


class _Words:
    """A tokenizer whose tokens are the given words."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(self.words[i] for i in ids)

    def id_to_token(self, token: int) -> str:
        return self.words[token]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_spaces_are_cleaned_up_as_transformers_does_and_deltas_join(size):
    """All texts of the characters that the rules are made of, streamed in pieces of `size` characters."""
    random = Random(0)
    for _ in range(2000):
        text = "".join(random.choices([" ", " ", "'", ".", "n", "t", "s", "v", "e", "x", " ' ", " 'm", ","], k=14))
        words = [text[i : i + size] for i in range(0, len(text), size)]
        tokenizer = TextTokenizer(_Words(words), "", 8, clean_up_spaces=True)
        expected = PreTrainedTokenizerBase.clean_up_tokenization(text)
        assert tokenizer.decode(list(range(len(words)))) == expected
        detokenizer = IncrementalDetokenizer(tokenizer)
        deltas = [detokenizer.delta(list(range(end))) for end in range(1, len(words) + 1)]
        assert "".join([*deltas, detokenizer.finish(expected)]) == expected, text
    assert sum(map(bool, deltas)) > 0
