"""What of a summary stands word for word in its document, and where pieces were joined."""

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.grounding.alignment import align
from precis.grounding.evidence import find_evidence

FIRM = (
    "Anna Bell joined the firm of Moss and Pargeter in 1957 and retired in 1990. Her sister Clara Lowe ran it until "
    "1995. She died at the age of 91 at her home in Galway. It is not true that the council has approved the plan. "
    "The shop sold apples, pears, plums and bread for £5.4m. The rent was 3% in “Old Town”."
)


def seams(document: str, summary: str) -> list[tuple[str, str, str]]:
    """Each seam: the summary from there on, and the document's two pieces."""
    alignment = align(document, summary)
    return [(summary[seam.at :], *(document[start:end] for start, end in seam.sources)) for seam in alignment.seams]


@pytest.mark.parametrize(
    "summary",
    [
        "Anna Bell joined the firm of Moss and Pargeter in 1957 and retired in 1990.",
        "anna bell JOINED the firm of moss and pargeter",
        'The rent was 3% in "Old Town".',
        "The rent was 3% in 'Old Town'.",
        "She died at the age of 91 at her home in Galway. The shop sold apples, pears, plums and bread for £5.4m.",
        "Anna Bell joined the firm of Moss and Pargeter in 1957. Her sister Clara Lowe ran it until 1995.",
        "She died.",
    ],
)
def test_copied_sentences_are_verbatim(summary):
    alignment = align(FIRM, summary)
    assert (alignment.verbatim, alignment.copied_share, alignment.seams) == (True, 1.0, [])
    assert [FIRM[span.source_start : span.source_end].casefold()[:4] for span in alignment.spans]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (  # two sentences spliced: the embedded model's own
            "Anna Bell joined the firm of Moss and Pargeter in 1957 and at the age of 91 at her home in Galway.",
            (
                "at the age",
                "Anna Bell joined the firm of Moss and Pargeter in 1957 and",
                "at the age of 91 at her home",
            ),
        ),
        (  # words of one sentence left out
            "Anna Bell joined the firm in 1957 and retired in 1990.",
            ("in 1957", "Anna Bell joined the firm", "in 1957 and retired in 1990"),
        ),
        (  # a number for another one of the text
            "Anna Bell joined the firm of Moss and Pargeter in 1995.",
            ("1995", "Anna Bell joined the firm of Moss and Pargeter in", "1995"),
        ),
        (  # a name for another one of the text
            "Clara Lowe joined the firm of Moss and Pargeter in 1957.",
            ("joined", "Clara Lowe", "joined the firm of Moss and Pargeter in 1957"),
        ),
        (  # a negation left out before the words
            "The council has approved the plan.",
            ("The council", "not", "the council has approved the plan"),
        ),
        (  # whose "she" is another one
            "Anna Bell joined the firm of Moss and Pargeter in 1957. She died at the age of 91.",
            ("She died", "Anna Bell joined the firm of Moss and Pargeter in 1957", "She died at the age of 91"),
        ),
        (  # a list in another order
            "The shop sold plums, apples, pears and bread for £5.4m.",
            ("plums", "The shop sold", "plums"),
        ),
    ],
)
def test_a_seam_shows_where_two_pieces_were_joined(summary, expected):
    assert not align(FIRM, summary).verbatim
    at, before, after = seams(FIRM, summary)[0]
    assert at.startswith(expected[0])
    assert (before, after[: len(expected[2])]) == expected[1:]


@pytest.mark.parametrize(
    ("document", "summary"),
    [
        ("The council did not approve the plan.", "The council did approve the plan."),
        ("No member of the council approved the plan.", "Member of the council approved the plan."),
        ("They couldn't say that the old bridge had been repaired.", "The old bridge had been repaired."),
    ],
)
def test_a_dropped_negation_is_seen(document, summary):
    assert len(align(document, summary).seams) == 1


def test_a_negation_that_the_summary_has_or_that_follows_is_no_seam():
    assert align("It is not true that they came by train.", "That they came by train is not true.").seams != []
    document = "They came by train and did not stay. He never said that she had come."
    assert align(document, "They came by train.").seams == []
    assert align(document, "He never said that she had come.").seams == []


@pytest.mark.parametrize(
    ("document", "summary"),
    [
        ("It cost £5 million in all.", "It cost $5 million in all."),
        ("It rose by 5% last year.", "It rose by 5 last year."),
        ("It fell to -5 degrees at night.", "It fell to 5 degrees at night."),
        ("It fell by 1.5 points at last.", "It fell by 15 points at last."),
        ("The plans of Anna's firm failed.", "The plans of Anna firm failed."),
    ],
)
def test_signs_and_endings_count(document, summary):
    assert align(document, document).verbatim
    assert not align(document, summary).verbatim


def test_another_form_of_a_word_is_no_seam_and_not_verbatim():
    alignment = align("The council has approved the new plan.", "The council has approves the new plan.")
    assert (alignment.verbatim, alignment.seams, len(alignment.spans)) == (False, [], 2)


@pytest.mark.parametrize(
    ("document", "summary", "spliced"),
    [
        ("市议会周二开会。老桥要修。新桥很贵。", "老桥要修。", "市议会周二开会老桥要修。"),
        ("Совет собрался во вторник утром. Старый мост починят до зимы.", "Старый мост починят до зимы.",
         "Совет собрался во вторник мост починят до зимы."),
        ("اجتمع المجلس يوم الثلاثاء. سيتم إصلاح الجسر القديم.", "سيتم إصلاح الجسر القديم.",
         "اجتمع المجلس يوم إصلاح الجسر القديم."),
        ("Το συμβούλιο συνεδρίασε την Τρίτη. Η γέφυρα θα επισκευαστεί φέτος.", "η γέφυρα θα επισκευαστεί φέτος.",
         "Το συμβούλιο συνεδρίασε θα επισκευαστεί φέτος."),
        ("परिषद की बैठक मंगलवार को हुई। पुराने पुल की मरम्मत होगी।", "पुराने पुल की मरम्मत होगी।",
         "परिषद की बैठक पुल की मरम्मत होगी।"),
    ],
)  # fmt: skip
def test_scripts(document, summary, spliced):
    assert align(document, summary).verbatim
    assert len(seams(document, spliced)) == 1


def test_a_heading_goes_with_the_sentence_below_it():
    assert align("The old bridge\nIt was mended in May.\nIt holds.", "The old bridge It was mended in May.").verbatim


def test_composed_and_decomposed_letters_are_equal():
    assert align("Renée Müller a été élue.", "Rene\u0301e Mu\u0308ller a e\u0301te\u0301 e\u0301lue.").verbatim


def test_nothing_is_verbatim_of_nothing():
    for document, summary in (("", "Zebras gallop."), (FIRM, ""), ("", ""), (FIRM, "Zebras gallop.")):
        assert align(document, summary) == align("", "")
        assert not align(document, summary).verbatim


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Anna Bell joined the firm in 1958.", ["1958"]),
        ("Zoe Marsh joined the firm.", ["Zoe Marsh"]),
        ("Anna Bell joins the firms and enriched them.", ["enriched", "them"]),
        ("The council denies having approved a plan.", ["denies"]),
        ("It was ninety-one or five point four.", ["five", "point", "four"]),
        ("The BBC says she retires.", ["BBC", "says"]),
    ],
)
def test_novel_words_have_no_form_in_the_document(summary, expected):
    novel = find_evidence(FIRM, summary).grounding.novel
    assert [word.text for word in novel] == expected
    assert [summary[word.start : word.end] for word in novel] == expected


@given(st.text(max_size=120), st.text(max_size=60))
def test_spans_are_equal_words_in_order_for_any_text(document, summary):
    alignment = align(document, document + "\n" + summary)
    end = 0
    for span in alignment.spans:
        assert end <= span.start < span.end
        end = span.end
        assert 0 <= span.source_start < span.source_end <= len(document)
    assert 0 <= alignment.copied_share <= 1


WORDS = st.lists(st.sampled_from(("alpha", "beta", "gamma")), min_size=1, max_size=14)


@given(WORDS, WORDS)
def test_spans_are_the_extractive_fragments_of_grusky(document, summary):
    """The algorithm of figure 3 there, on words; of its fragments those of at least three words."""
    fragments, at = [], 0
    while at < len(summary):
        pairs = (zip(summary[at:], document[start:], strict=False) for start in range(len(document)))
        longest = max(len(list(takewhile(lambda pair: pair[0] == pair[1], both))) for both in pairs)
        if longest >= 3 or longest == len(summary):
            fragments.append(" ".join(summary[at : at + longest]))
        at += longest if longest >= 3 else 1
    text = " ".join(summary)
    spans = [text[span.start : span.end] for span in align(" ".join(document), text).spans]
    assert [span for span in spans if len(span.split()) >= 3 or span == text] == fragments
