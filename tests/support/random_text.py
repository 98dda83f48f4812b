"""Random headings, sentences and paragraphs."""

import random

VOCABULARY = (
    "council bridge river winter money engineer harbour station village doctor teacher minister contract report budget"
    " meeting decision factory market school library hospital orchard lighthouse passenger information government"
    " development construction agreement population temperature Müller café naïve coöperation well-known long-term"
    " 2024 1,250 3.5 Anna Lund Berg"
)
SMALL_VOCABULARY = "the a of in on and to for with by from after before under over while because that which not is was"
WORDS, SMALL_WORDS = VOCABULARY.split(), SMALL_VOCABULARY.split()


def sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS if at % 2 else SMALL_WORDS) for at in range(rng.randint(6, 22))]
    if rng.random() < 0.3:
        words[len(words) // 2] += ","
    return " ".join([words[0].capitalize(), *words[1:]]) + rng.choice("...?!")


def paragraph(rng: random.Random) -> str:
    return " ".join(sentence(rng) for _ in range(rng.randint(1, 4)))


def heading(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS[:30]) for _ in range(rng.randint(2, 5))).capitalize()
