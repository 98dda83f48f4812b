"""The fast tokenizer of models/base against SentencePiece."""

import random

import pytest
import sentencepiece
from transformers import AutoTokenizer

from research.pretrain.fast_tokenizer import fast_tokenizer
from tests.conftest import ROOT, gazette

SPIECE = ROOT / "models/base/spiece.model"
TEXTS = [
    "🙂 emoji 👩‍👩‍👧 and flags 🇫🇮",
    "Łódź, Nguyễn, Þórðr, Lysøyvåg, Ğülşen",
    "日本語テキスト и кириллица עברית مرحبا",
    "  two  spaces\t a tab\n\nand lines ",
    "ﬁne ½ ① Ａ",
    "x" * 500,
    "",
    " ",
]


@pytest.fixture(scope="module")
def reference():
    return sentencepiece.SentencePieceProcessor(model_file=str(SPIECE))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "models/base")


def test_ids_and_text_equal_those_of_sentencepiece(reference, tokenizer):
    texts = [row[key] for split in ("train", "validation") for row in gazette(split) for key in ("document", "summary")]
    for text in [*texts, *TEXTS]:
        ids = reference.encode(text)
        assert tokenizer(text).input_ids == [*ids, 1], text
        assert tokenizer.decode(ids) == reference.decode(ids), text


def test_letters_and_emoji_survive_the_round_trip(tokenizer):
    letters = [
        chr(c) for block in ((0x21, 0x7E), (0x400, 0x44F), (0x5D0, 0x5EA), (0x1F600, 0x1F640)) for c in range(*block)
    ]
    draw = random.Random(5)
    for _ in range(300):
        text = "".join(draw.choices(letters, k=draw.randint(1, 30)))
        if "<" not in text:  # "<0x41>" written out is read as the byte
            ids = tokenizer(text).input_ids
            assert tokenizer.unk_token_id not in ids, text
            assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_tokenizer_in_the_repository_is_reproducible(tokenizer, tmp_path):
    converted = fast_tokenizer(SPIECE, extra_ids=64)
    assert converted.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert len(converted) == 16064
    assert converted.convert_tokens_to_ids(["<pad>", "</s>", "<unk>", "<extra_id_0>"]) == [0, 1, 2, 16063]
