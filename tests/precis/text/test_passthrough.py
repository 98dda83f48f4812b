"""Texts that need no model come back as they are; texts in unknown languages with their beginning; both are flagged."""

import asyncio

import pytest
from tokenizers import Tokenizer

from precis import Engine, EngineClosed, GenerationParams
from precis.cli import main
from precis.grounding.evidence import find_evidence
from precis.text.familiarity import Familiarity
from precis.text.passthrough import LONGEST_BEGINNING, beginning, is_short
from tests.conftest import ROOT, gazette

SENTENCE = "The harbour board of Kvelle voted on Tuesday to close the old fish hall."
LONG_SENTENCE = (
    "The harbour board of Kvelle, which has met every month since the war in the room above the ice house, voted on "
    "Tuesday, after four hours and by a single vote, to close the old fish hall, where eleven families still sell cod."
)
CHINESE = "市议会周一经过长时间的辩论，决定拆除河上的旧桥，并在明年秋天之前建造一座新桥。费用估计为三百万欧元。" * 2
FOREIGN = {
    "Chinese": CHINESE,
    "Russian": "Городской совет в понедельник после долгих дебатов решил снести старый мост через реку и заменить его "
    "новым до осени следующего года. Стоимость работ оценивается в три миллиона евро.",
    "German": "Der Stadtrat hat am Montag nach langer Debatte beschlossen, die alte Brücke über den Fluss "
    "abzureißen und bis zum Herbst des nächsten Jahres durch einen Neubau zu ersetzen. Sie kostet drei Millionen.",
    "French": "Le conseil municipal a décidé lundi, après un long débat, de démolir le vieux pont sur la rivière et de "
    "le remplacer par un nouvel ouvrage d'ici à l'automne prochain. Le coût est estimé à trois millions d'euros.",
    "Swahili": "Halmashauri ya mji iliamua Jumatatu baada ya mjadala mrefu kubomoa daraja la zamani la mto na "
    "kulibadilisha na jipya kabla ya msimu wa vuli mwaka ujao. Gharama inakadiriwa kuwa euro milioni tatu.",
}


@pytest.fixture(scope="module")
def familiarity():
    return Familiarity(Tokenizer.from_file(str(ROOT / "models/base/tokenizer.json")))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (SENTENCE, True),
        (LONG_SENTENCE, True),
        ("It rained. Nobody came. We went home.", True),
        ("word " * 24, True),
        ("one two. " * 13, False),  # 26 words
        (("word " * 61).strip() + ".", False),
        (SENTENCE + " " + LONG_SENTENCE, False),
        ("桥要修。" * 30, False),
        ("桥要修。好。", True),
        ("a" * 1001, False),
    ],
)
def test_a_text_of_one_sentence_or_under_25_words_is_short(text, short):
    assert is_short(text) == short


def test_the_beginning_is_of_the_body_and_not_endless():
    text = "From: Ann\nSubject: the bridge\n\nHi Ben,\n\nWell. The old bridge is closed from today. It is sad."
    assert [text[start:end] for start, end in beginning(text, 1)] == ["The old bridge is closed from today."]
    assert beginning("No. Yes. Go.", 2) == [(0, 3), (4, 8)]  # no better sentence
    (start, end), *_ = beginning("слово " * 500, 1)
    assert (start, LONGEST_BEGINNING - 10 < end <= LONGEST_BEGINNING) == (0, True)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_other_scripts_and_languages_are_noticed(familiarity, text):
    assert familiarity.is_unfamiliar(text, familiarity._tokenizer.encode(text).ids)


def test_what_the_base_was_made_for_is_familiar(familiarity):
    documents = [row["document"] for row in gazette("validation")]
    ids = [encoding.ids for encoding in familiarity._tokenizer.encode_batch(documents)]
    assert familiarity.knows(documents, ids)
    assert not any(familiarity.is_unfamiliar(*pair) for pair in zip(documents, ids, strict=True))
    emoji = "We had such a good time at the lake with all of you! 😂😂😂🎉🎉 " * 8
    assert not familiarity.is_unfamiliar(emoji, familiarity._tokenizer.encode(emoji).ids)
    assert not familiarity.knows([CHINESE], [familiarity._tokenizer.encode(CHINESE).ids])


def test_a_short_text_comes_back_as_it_is(engine, capsys, bundle, tmp_path):
    text = "  The café is closed\t until Monday.\n"
    summary = engine.generate([text])[0]
    assert summary.text == "The café is closed\t until Monday."
    assert (summary.already_short, summary.unsupported_language) == (True, False)
    assert (summary.chunks, summary.truncated_tokens, summary.finish_reason) == (1, 0, "end")
    assert (summary.output_tokens, summary.token_ids) == (
        len(summary.token_ids),
        engine._tokenizer.encode_summary(text),
    )
    evidence = find_evidence(text, summary.text)
    assert [(item.text, item.score) for item in evidence.sentences] == [(summary.text, 1.0)]
    path = tmp_path / "text.txt"
    path.write_text(SENTENCE)
    assert main(["summarize", str(bundle), str(path)]) == 0
    assert capsys.readouterr() == (SENTENCE + "\n", "(the text is short already)\n")


def test_a_short_text_is_streamed_too(engine):
    async def stream():
        return [item async for item in engine.stream(SENTENCE)]

    delta, summary = asyncio.run(stream())
    assert delta == summary.text == SENTENCE
    assert summary.already_short


@pytest.mark.parametrize("settings", [{"passthrough": False}, {"max_new_tokens": 4}, {"min_new_tokens": 40}])
def test_the_model_summarizes_a_short_text_if_the_request_wants_it(engine, settings):
    summary = engine.generate([SENTENCE], GenerationParams(**{"max_new_tokens": 60, **settings}))[0]
    assert not summary.already_short
    assert summary.first_token_seconds > 0


def test_a_text_in_an_unknown_language_is_answered_with_its_beginning(engine):
    summary = engine.generate([CHINESE])[0]
    assert summary.text == CHINESE[: CHINESE.index("。") + 1]
    assert (summary.already_short, summary.unsupported_language) == (False, True)
    assert not engine.generate([CHINESE], GenerationParams(passthrough=False, max_new_tokens=4))[0].unsupported_language


def test_a_closed_engine_answers_nothing(bundle):
    engine = Engine.load(bundle)
    engine.close()
    with pytest.raises(EngineClosed):
        engine.generate([SENTENCE])
