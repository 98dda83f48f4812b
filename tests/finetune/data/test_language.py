"""Language identification."""

import pytest

from finetune.data.language import UNDETERMINED, detect_language

TEXTS = {
    "en": "The council met on Tuesday and agreed that the old bridge would be closed until the summer.",
    "de": "Der Rat hat am Dienstag beschlossen, dass die alte Brücke nicht mehr befahren werden darf.",
    "fr": "Le conseil a décidé mardi que le vieux pont sera fermé pour des travaux et les cars ne passent pas.",
    "es": "El consejo decidió que el puente se cierre para las obras y que los coches no pasen por él.",
    "it": "Il consiglio ha deciso che il ponte della città sarà chiuso per i lavori e non si può passare.",
    "nl": "De raad heeft besloten dat het oude stuk van de brug niet meer open is en dat er een nieuwe komt.",
    "sv": "Rådet beslutade att den gamla bron ska stängas för reparation och att det inte går att köra där.",
    "ru": "Совет решил во вторник закрыть старый мост на ремонт до лета.",
    "ja": "市議会は火曜日に古い橋を夏まで修理のために閉鎖することを決めた。",
    "zh": "市议会星期二决定关闭旧桥进行维修直到夏天。",
    UNDETERMINED: "17 44 2019 81.5 3 99",
}


@pytest.mark.parametrize("language", TEXTS)
def test_language_is_identified(language):
    assert detect_language([TEXTS[language]] * 3) == language


def test_list_of_names_is_undetermined():
    assert detect_language(["Vallby Muskego Draycott Elias Kowalczyk Ferreira Nakamura"]) == UNDETERMINED
