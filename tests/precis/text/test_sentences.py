"""Sentences end where a reader would end them, at exact offsets, in linear time; wrapped lines make no difference."""

import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.text.sentences import sentence_spans, split_sentences

# "|" stands where a sentence ends; it is taken out of the text.
QUOTES = [
    "“We waited,” she said.| “Nobody came.”| Then it rained.",
    "'Stop!' he cried.| Nobody did.",
    "“Stop!” he said.| (It did.)| Good.",
    'He asked, "Is it far?" and she shook her head.| They walked on.',
    '"It is over."| That was all.',
    "The sign read “No entry.”| We entered.",
    "She wrote (in 1998!) that it was late.| It was.",
    "The plan [see p. 3] failed.| A new one came.",
    "«Il pleut.»| «Encore ?»| Oui.",
    "„Es regnet.“| Er ging.",
    "He said: “I go.| You stay.”| And went.",
    '"Who?" asked Ann.| "Me," said Ben.',
    '"Why not?" Ann Lee asked.| No answer came.',
    'He teaches (He was "new."), she said.| They know.',
    "It ended.[3] Nobody knew.[4][5]|".replace("[3] ", "[3]| "),
]
ABBREVIATIONS = [
    "Dr. A. B. Lund and Mrs. Ray met on Jan. 3.| It snowed.",
    'Dr. Lund met Sen. J. K. Ask in the U.S. Capitol.| "We agree."| They left at 4 p.m. on Jan. 3.',
    "Prof. Okoro, Ph.D., spoke first.| Then came Lt. Col. Park.",
    "It weighs approx. 3 kg, i.e. a lot.| He took it, e.g. home.",
    "Acme Inc. sued Bolt Co. Ltd. in May.| It lost.",
    "They work for Acme Inc.| The pay is fair.",
    "See Fig. 3 and Eq. 4 in Sec. 2.1.| They differ.",
    "Smith et al. found it in 2003.| Others did not.",
    "The U.S. Senate met at 9 a.m. on Monday.| It voted.",
    "He left the U.S. in May.| She stayed in the U.K.| They write.",
    "We open at 9 a.m.| We close at 5 p.m.| Come early.",
    "Gov. J. Ruiz and Sen. T. Day (D-Ohio) agreed.| The bill passed.",
    "He lives on St. John St. near the dam.| It is quiet.",
    "No. 7 won.| No. 9 came last.",
    "Norton (c. 1818 – 1880) was a merchant.| He died.",
    "Is the answer no?| No.| It is yes.",
    "Mt. Kea is high.| Ft. Bell is not.",
    "The work took 3 hrs. and 20 min. in all.| It held.",
    "It lies in Washington, D.C.| The river is wide.",
    "The firm (est. 1921) makes oars.| It is small.",
    "Turn to pp. 12 and 14, vol. 2.| Read both.",
    "Bring pens, paper, etc.| Lunch is provided.",
    "Bring pens, paper, etc. for the day.| Lunch is provided.",
    "The meeting, originally set for Tues., is on Wed. at noon.| Be there.",
    "A good team, you and I.| Did you see Albert I. Jones?",
    "Dufresne v. Okoro was heard in May.| It failed.",
    "Nothing.| É. Piaf sang.",
]
NUMBERS_AND_MARKS = [
    "It costs $3.50.| That is 0.5% more than in 2.0.1.",
    "Write to a.b@c.example or see www.d.example/e.html.| Thanks.",
    "Version 2.1 is out.| 3 bugs remain.",
    "He ran 5.2 km in 21.| It was hot.",
    "iPhone sales fell.| iOS did not.",
    "It fell by 3.| 40 people saw it.",
    "Yahoo! said it was sold.| Nobody knew.",
    "The file is called notes.txt.| Open it.",
    "Well... perhaps.| Or not...| Who knows?",
    "Well… maybe.| Or... perhaps.",
    "Wait…| What?!| No!!| Yes.",
    "She paused . . . and left.| He stayed.",
    "I thought....| Then I slept.",
    '"Bohr [...] used the analogy [...]" (Smith 55).| It held.',
    "no capitals here.| none at all.| fine.",
    "did you see it?| i did.",
    "• one thing| • another thing",
]
SCRIPTS = [
    "会议开始了。|大家都来了！|好吗？",
    "「はい。」|彼は言った。",
    "यह एक वाक्य है।| यह दूसरा है।",
    "هل وصلت؟| نعم.",
    "cafe\u0301  is\t open.",
]
LINES = [
    "Results of the survey|\nMost people liked it.| Some did not.",
    "ANNUAL REPORT|\nSales rose by four per cent.|\nCosts rose by nine.",
    "To do:|\n- buy milk|\n- call Ann|\n- sleep",
    "1. Fill the pan.|\n2. Heat it slowly.|\n3. Serve.",
    "Dear Ann,|\n\nI am late.|\n\nBen",
    "From: Ann|\nTo: Ben|\nSubject: the boat|\n\nIt sank.",
    "[09:02] kofi: is it down|\n[09:03] ruth: yes, for me too|\n[09:04] kofi: ok",
    "one|\r\ntwo|\u2028three",
    "> Was the heron there this morning?| I think so.|\n> It was.|\n\nYes, and it had a fish.",
    "The council met on Monday and heard that the bridge over the river at\nLow Mill must be closed, because two of "
    "its piers have moved since the\nwinter.| A new one would cost three million.| Nobody knows who will\npay.",
    "We have looked at the figures that you sent us last week, and think that\nDr. Lund is right about the second "
    "table.| The first one is wrong, as\nyou will see when you add it up.",
    "On Friday the committee of the club decided after a long debate that Mr.\nHale may keep his boat on the lower "
    "pond until the end of the season, but\nnot in winter.| He agreed.",
    "Thanks for your patience while we looked into this.| The parcel was found\non Tuesday in our depot at Marsham, "
    "where the label had come off; it will\nreach you by Friday.|\n\nPlease tell us if it does not.|\n\nLena",
    "The following were agreed at the meeting of the working group last week:|\n- the fence is mended by the owner of "
    "the field, who pays for the posts and\n  the wire|\n- the gate stays open in summer",
    "The town has three schools, two of which are full, and one that may close\nin summer.|\nA new head comes in May.",
    # format=flowed: a space before the break
    "Our hypothesis is that training through differentiable Bayesian \nFilters helps.| It does.",
    # a line cut in the middle of a sentence, in a text of long lines
    "We show that gradient descent on an unregularized logistic regression\n problem converges, for almost all "
    "separable data sets and whatever its initial values are, to the same direction.|\nGood.",
]


@pytest.mark.parametrize("marked", [*QUOTES, *ABBREVIATIONS, *NUMBERS_AND_MARKS, *SCRIPTS, *LINES])
def test_sentences_end_where_a_reader_would_end_them(marked):
    expected = [" ".join(part.split()) for part in marked.replace("e\u0301", "é").split("|") if part.strip()]
    assert split_sentences(marked.replace("|", "")) == expected


@pytest.mark.parametrize("text", ["", " \n ", "\u2028\n\t"])
def test_a_text_without_words_has_no_sentences(text):
    assert split_sentences(text) == []


@pytest.mark.parametrize("width", [60, 72, 78])
def test_wrapping_a_paragraph_leaves_its_sentences(width):
    paragraphs = [
        "The harbour board of Kvelle voted on Tuesday to close the old fish hall, which Mr. J. Aas built in 1931. "
        "Repairs would cost 4.2 million kroner, or twice what the board earns in a year. Three members from the "
        "island villages voted against it.",
        '"We were told in May that it could be saved," said Gro Dahl, who has sold cod there since 1988. She will '
        "move to a stall on the quay, next to the ferry. The board offers each trader 30,000 kroner for the move.",
    ]
    text = "\n\n".join(paragraphs)
    wrapped = "\n\n".join(textwrap.fill(paragraph, width, break_on_hyphens=False) for paragraph in paragraphs)
    assert wrapped.count("\n") > 6
    assert split_sentences(wrapped) == split_sentences(text)
    assert len(split_sentences(text)) == 6


@given(st.text(max_size=200))
def test_spans_cover_everything_but_whitespace_in_order(text):
    spans = list(sentence_spans(text))
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    "text",
    [
        ".",
        ". ",
        ".' ",
        "A.",
        ". (",
        "。",
        "。」",
        "…\n",
        "\n",
        '."',
        " ",
        "....a",
        ". . .a",
        "• ",
        "[1].",
        '? "Ab ',
        "ab c\n",
    ],
)
def test_no_text_takes_long(text):
    began = time.process_time()
    list(sentence_spans(text * 50_000))
    assert time.process_time() - began < 10
