"""The size of a text in tokens, found without holding up the interpreter."""

import asyncio

import pytest

from bento.page import limits
from bento.page.text_size import count_tokens
from precis import TextError
from precis.text.tokenizer import TextTokenizer
from tests.conftest import gazette


def test_count_is_that_of_the_tokenizer_within_a_few_a_slice(engine):
    text = " ".join(row["document"] for row in gazette("train")[:40])[: limits.MAX_TEXT_CHARACTERS]
    expected = len(TextTokenizer.load(engine.bundle).tokenizer.encode(text, add_special_tokens=False))
    assert asyncio.run(count_tokens(engine, text)) == pytest.approx(expected, abs=3 * len(text) / 1000 + 1)


@pytest.mark.parametrize("character", ["🦖", "\ufdfa", "𓀀"])
def test_text_of_rare_characters_is_refused_by_its_tokens(engine, character):
    with pytest.raises(TextError, match="more than 16,000 tokens"):
        asyncio.run(count_tokens(engine, character * limits.MAX_TEXT_CHARACTERS))


def test_text_of_too_many_characters_is_refused_unread(engine):
    with pytest.raises(TextError, match="The text has 40,001 characters, and this page takes 40,000"):
        asyncio.run(count_tokens(engine, "a" * (limits.MAX_TEXT_CHARACTERS + 1)))


def test_event_loop_goes_on_while_many_texts_are_counted(engine):
    async def scenario():
        counting = [asyncio.create_task(count_tokens(engine, "\ufdfa" * 40_000)) for _ in range(8)]
        turns = 0
        while not all(task.done() for task in counting):
            await asyncio.sleep(0)
            turns += 1
        await asyncio.gather(*counting, return_exceptions=True)
        return turns

    assert asyncio.run(scenario()) >= 8
