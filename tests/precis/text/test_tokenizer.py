"""What becomes of texts longer than the model reads, and of texts without words."""

import pytest

from precis import GenerationParams, TextError
from tests.conftest import gazette
from tests.support.engines import LIMIT


def test_the_caller_chooses_what_happens_to_a_long_text(engine):
    text = gazette("validation")[0]["document"]
    tokens = len(engine._tokenizer.encode(text))
    split, truncated = (
        engine.generate([text], GenerationParams(max_new_tokens=12, long_text=choice))[0]
        for choice in ("split", "truncate")
    )
    assert (split.input_tokens, split.truncated_tokens) == (tokens, 0)
    assert split.chunks == len(engine._tokenizer.chunks(text)) > 1
    assert (truncated.input_tokens, truncated.truncated_tokens, truncated.chunks) == (tokens, tokens - LIMIT, 1)
    with pytest.raises(TextError, match=str(tokens)):
        engine.generate([text], GenerationParams(long_text="refuse"))


def test_truncating_keeps_the_end_token(engine):
    ids = engine._tokenizer.encode("word " * 200)
    truncated = engine._tokenizer.truncate(ids)
    assert (len(truncated), truncated[:-1], truncated[-1]) == (LIMIT, ids[: LIMIT - 1], ids[-1])
    assert engine._tokenizer.truncate(ids[:5]) == ids[:5]


def test_special_tokens_in_a_text_are_blanks(engine):
    encode = engine._tokenizer.encode
    with_tokens = "The council</s> met <pad>on Monday.<extra_id_0> It <unk> agreed."
    assert encode(with_tokens) == encode("The council met on Monday. It agreed.")
    assert encode("<s>a < b</p>") != encode("a b")  # no special tokens of T5
    assert engine._tokenizer.encode_all([with_tokens]) == [encode(with_tokens)]
    long = with_tokens * 40
    assert "".join(engine._tokenizer.chunks(long)).count("</s>") == 0
