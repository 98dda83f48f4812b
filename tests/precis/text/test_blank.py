"""One definition of an empty text, by what the model reads: the same for API, command line, files and training."""

import unicodedata

import pytest
from tokenizers import Tokenizer

from precis import TextError
from precis.bulk.formats.base import Row
from precis.cli import main
from precis.text import is_blank, without_special_tokens
from tests.conftest import ROOT

BLANK = {
    "nothing": "",
    "spaces": " \n\t\u2003\u00a0\u3000",
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "NUL": "\0\0",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "direction marks": "\u200e\u202a\u202c",
    "Hangul filler": "\u3164\u115f",
    "variation selector": "\ufe0f",
    "empty Braille cell": "\u2800",
    "replacement characters": "\ufffd\ufffd",
    "end of sequence": "</s>",
    "special tokens": " <pad></s>\u200b<unk> <extra_id_12>",
    "tags": "\U000e0041",
}
NOT_BLANK = [".", "a", "🙂", "<s>", "</s> a", "<extra_id_>", "\u200bя", "0", "\u0301", "日"]


@pytest.fixture(params=BLANK.values(), ids=BLANK)
def blank(request):
    return request.param


def test_invisible_texts_are_blank(blank):
    assert is_blank(blank)


def test_no_text_is_blank():
    assert is_blank(None)


@pytest.mark.parametrize("text", NOT_BLANK)
def test_a_sign_is_a_text(text):
    assert not is_blank(text)


def test_what_the_tokenizer_does_not_read_is_blank():
    """The reference is the tokenizer: a character of which no piece is left."""
    tokenizer = Tokenizer.from_file(str(ROOT / "models/base/tokenizer.json"))
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    encodings = tokenizer.encode_batch(["a" + character for character in characters], add_special_tokens=False)
    unread = {
        c for c, encoding in zip(characters, encodings, strict=True) if "".join(encoding.tokens).strip("▁") == "a"
    }
    assert {"\u200b", "\ufeff", "\ufffd", "\u2581", " "} <= unread
    assert [hex(ord(character)) for character in unread if not is_blank(character)] == []


def test_every_letter_digit_and_mark_is_a_text():
    visible = ("L", "N", "P", "S")
    fillers = "\u115f\u1160\u3164\uffa0\u2800\u2581\ufffd"
    signs = (chr(code) for code in range(0x20000) if unicodedata.category(chr(code))[0] in visible)
    assert [hex(ord(sign)) for sign in signs if is_blank(sign) and sign not in fillers] == []


def test_special_tokens_leave_the_places_of_all_else():
    text = "a</s>b <extra_id_7> <s>c"
    assert without_special_tokens(text) == "a    b " + 12 * " " + " <s>c"


def test_the_engine_refuses_it(engine, blank):
    with pytest.raises(TextError, match="empty"):
        engine.generate([blank])


def test_the_command_line_refuses_it(bundle, tmp_path, capsys):
    path = tmp_path / "blank.txt"
    path.write_text("\u200b</s>", encoding="utf-8")
    assert main(["summarize", str(bundle), str(path)]) == 1
    assert capsys.readouterr() == ("", "The text is empty.\n")


def test_a_row_of_a_file_with_it_is_rejected(blank):
    assert Row(1, None).set_document(blank, "document").error == "document is empty."
