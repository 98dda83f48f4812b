"""The benchmark of trust: what it makes of sound texts, and its area under the ROC curve on known values."""

import random

import pytest

from benchmarks.grounding import GROUPS, KINDS, auroc, cases

DOCUMENT = "On Monday Anna Bell of Leeds paid 40 pounds for it. In May the mayor of Cork had asked for 75 pounds."


@pytest.mark.parametrize(
    ("sound", "corrupted", "area"),
    [([0, 1], [2, 3], 1.0), ([2, 3], [0, 1], 0.0), ([1, 1], [1, 1], 0.5), ([0, 2], [1], 0.5)],
)
def test_area_under_the_curve(sound, corrupted, area):
    assert auroc(sound, corrupted) == area


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupted_text_differs_and_consists_of_the_documents_words(kind):
    text = "On Monday Anna Bell of Leeds paid 40 pounds for it."
    corrupted = KINDS[kind](text, DOCUMENT, random.Random(1))
    assert corrupted != text
    assert set(corrupted.replace(".", "").split()) <= set(DOCUMENT.replace(".", "").split())
    assert kind == "halves" or KINDS[kind]("nothing to swap", DOCUMENT, random.Random(1)) is None


def test_sound_and_corrupted_texts_alternate():
    made = cases([(DOCUMENT, "Anna Bell paid 40 pounds for it in May.")])
    assert {kind for kind, _, _ in made[::2]} == {""}
    assert {group for group, _, _ in made[1::2]} <= set(GROUPS)
    assert all(sound[2] != corrupted[2] for sound, corrupted in zip(made[::2], made[1::2], strict=True))
