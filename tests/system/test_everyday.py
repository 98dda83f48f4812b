"""Fifteen everyday texts: the embedded model's summary says what most of them are about. None was trained on."""

import pytest

from precis import Engine
from precis.text.body import body_sentences
from precis.text.passthrough import is_short
from tests.conftest import ROOT

FOLDER = ROOT / "tests/system/everyday"
LEAST_ACCEPTABLE = 9  # 10 or 11 are: training differs a little from machine to machine


def read(path) -> tuple[str, list[str]]:
    """A text, and those of its sentences that say what it is about."""
    text, acceptable = path.read_text(encoding="utf-8").split("\n=== acceptable\n")
    return text, acceptable.strip().splitlines()


TEXTS = {path.stem: read(path) for path in sorted(FOLDER.glob("*.txt"))}


def test_there_are_fifteen_kinds_none_of_them_short():
    assert len(TEXTS) == 15
    assert [kind for kind, (text, _) in TEXTS.items() if is_short(text)] == []


@pytest.mark.parametrize("kind", TEXTS)
def test_acceptable_sentences_are_sentences_of_the_body(kind):
    text, acceptable = TEXTS[kind]
    body = [" ".join(text[start:end].split()) for start, end in body_sentences(text)]
    assert [sentence for sentence in acceptable if sentence not in body] == []
    assert len(acceptable) < len(body) / 2  # a choice at random fails


def test_most_summaries_say_what_the_text_is_about(embedded):
    with Engine.load(embedded / "bundle") as engine:
        summaries = engine.generate([text for text, _ in TEXTS.values()])
    wrong = [
        f"{kind}: {summary.text}"
        for (kind, (_, acceptable)), summary in zip(TEXTS.items(), summaries, strict=True)
        if not any(sentence in summary.text for sentence in acceptable) and not summary.unsupported_language
    ]
    assert len(TEXTS) - len(wrong) >= LEAST_ACCEPTABLE, wrong
