"""What is left of text when it is cleaned."""

import pytest

from bento.page.readers.characters import normalize

ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Infor\u00admation", "Information"),
        ("12\u2060345", "12345"),
        ("a\u200bb \ufeffc", "ab c"),
        ("12\u00a0000\u202fm", "12 000 m"),
        ("המחיר \u200f(100\u200e) שקל", "המחיר (100) שקל"),
        ("\u202bمرحبا\u202c \u2067x\u2069", "مرحبا x"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("می\u200c خواهم", "می خواهم"),
        ("ශ්\u200dරී", "ශ්\u200dරී"),
        ("അവന്\u200d വന്നു", "അവന്\u200d വന്നു"),
        ("foo\u200dbar\u200cbaz", "foobarbaz"),
        ("👩🏽\u200d🚀 👨\u200d👩\u200d👧 🏳️\u200d🌈", "👩🏽\u200d🚀 👨\u200d👩\u200d👧 🏳️\u200d🌈"),
        (f"{ENGLAND} a", f"{ENGLAND} a"),
        ("a\U000e0067b", "ab"),
        ("oﬃce ﬁne", "office fine"),
        ("a\x0bb\x0cc\u2028d\u2029e\x85f", "a\nb\n\nc\nd\n\ne\nf"),
        ("two \x07\t three\x00", "two three"),
        ("a\ue000b\ufffcc\ud800", "a b c"),
        ("\u0602 12", "\u0602 12"),
        ("a\n\n\n \nb", "a\n\nb"),
        ("\u200b\u2060\ufeff\u00ad\u3164", ""),
    ],
)  # fmt: skip
def test_invisible_signs_vanish_and_joiners_stay_where_they_matter(text, clean):
    assert normalize(text) == clean
