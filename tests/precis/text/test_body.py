"""The body of a text is what it says: no headers, signatures, quoted replies, headings, numbers or boilerplate."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.text.body import body_sentences, body_spans

E_MAIL = """From: "Tova Lind" <tova@sletta.example>
To: Ground staff; Canteen
Cc: Ola
Date: Mon, 3 Feb 2025 09:14
Subject: RE: FW: gritting

Hi all,

The gritting lorry has been sold, and from Monday we
spread the grit by hand. Thanks for your patience.

- Shovels are in shed 4.
→ Gloves too

Could everybody sign the list by Friday?

Kind regards,
Tova Lind
Head of Grounds | Sletta Airfield

> On 2 Feb, Ola wrote:
> who is doing the ramp on
> Monday?

This e-mail is intended for the addressee only. If you have received it in error, please delete it.
"""
MINUTES = """HOLT ROWING CLUB
Minutes of the committee meeting, 4 May, boathouse

Present: A. Rao (chair), B. Stein, Mrs C. Quist (minutes)
Apologies: D. Moe

1. Minutes of the last meeting
Agreed.

2. Coxes. The chair said that two coxes have left. It was resolved to pay a cox 12 euros an outing.

5.2 Roof
Nobody has been up.

The meeting closed at 9.25 p.m.
Next meeting: 1 June
"""
CONTRACT = """§ 9 Deposit

9.1 The Tenant pays a deposit of 900 before the keys are handed over.
(a) It is kept on a separate account.
Section 9.2. Return. The Landlord returns it within six weeks.
"""
NEWS = """Bridge to close for a year
By Ana Ruiz, Transport Correspondent
Published 3 May 2024, 10:31

HOLMBURY, May 3 (Wire) — The bridge at Holmbury will close in June for a year. Ferries will run every ten minutes.
Advertisement
Read more: How the bridge was built
Drivers face a detour of 40 km.
Share this article
© 2024 Holmbury News. All rights reserved.
"""
CHAT = """#night-shift
[02:11] Sam: line 3 is down
[02:12] Uma: the belt tore. nobody hurt
[02:15] Sam: run it on line 1
[Uma has left the conversation]
"""
CHAT_WITH_LINES = """Asha 18:44
tomorrow is off, there is a flood alert
dmitri 18:46
ok
Asha 18:47
new date is Sunday
"""
README = """# tinycsv

[![build](https://ci.example/b.svg)](https://ci.example)

A small reader for CSV files. It keeps quotes as they are.

## Install
```
pip install tinycsv
```
"""
PRESS_RELEASE = """FOR IMMEDIATE RELEASE
Oakline recalls its kettles
Oakline today recalled 4,000 kettles because their handles can come off. Owners get their money back in any shop.
Nobody has been hurt, the company said. The handles were glued with the wrong glue in March.
About Oakline
Oakline makes kitchen goods in Tarn and employs 300 people.
Media contact: Jo Wren, 555 0101
"""


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        pytest.param(
            E_MAIL,
            [
                "The gritting lorry has been sold, and from Monday we spread the grit by hand.",
                "Thanks for your patience.",
                "Shovels are in shed 4.",
                "Gloves too",
                "Could everybody sign the list by Friday?",
            ],
            id="e-mail",
        ),
        pytest.param(
            MINUTES,
            [
                "Agreed.",
                "The chair said that two coxes have left.",
                "It was resolved to pay a cox 12 euros an outing.",
                "Nobody has been up.",
            ],
            id="minutes",
        ),
        pytest.param(
            CONTRACT,
            [
                "The Tenant pays a deposit of 900 before the keys are handed over.",
                "It is kept on a separate account.",
                "The Landlord returns it within six weeks.",
            ],
            id="contract",
        ),
        pytest.param(
            NEWS,
            [
                "The bridge at Holmbury will close in June for a year.",
                "Ferries will run every ten minutes.",
                "Drivers face a detour of 40 km.",
            ],
            id="news",
        ),
        pytest.param(
            CHAT,
            ["line 3 is down", "the belt tore.", "nobody hurt", "run it on line 1"],
            id="chat with times and names",
        ),
        pytest.param(
            CHAT_WITH_LINES,
            ["tomorrow is off, there is a flood alert", "ok", "new date is Sunday"],
            id="chat with the sender above",
        ),
        pytest.param(README, ["A small reader for CSV files.", "It keeps quotes as they are."], id="README"),
        pytest.param(
            PRESS_RELEASE,
            [
                "Oakline today recalled 4,000 kettles because their handles can come off.",
                "Owners get their money back in any shop.",
                "Nobody has been hurt, the company said.",
                "The handles were glued with the wrong glue in March.",
            ],
            id="press release",
        ),
    ],
)
def test_the_body_is_what_the_text_says(text, sentences):
    assert [" ".join(text[start:end].split()) for start, end in body_sentences(text)] == sentences


def test_a_thread_without_other_headers_keeps_all_its_messages():
    text = "From: Site\nThe count trebled this week.\nFrom: Lab\nThank you. Apologies for the wait. Are they alive?"
    assert [text[start:end] for start, end in body_sentences(text)] == [
        "The count trebled this week.",
        "Thank you.",
        "Apologies for the wait.",
        "Are they alive?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Members of the two charities voted on Sunday in the same room.",
        "More details of the plan will be published on Monday by the council.",
        "About a third of them died. The cold killed the rest in March.",
        "By Friday the water had gone.",
        "Thanks to Ward 2 for the raffle, which brought in 212 pounds.",
        "On Monday Ann wrote: the boat has sunk and nobody was in it.",
        "One way to personalize a joke is to change the ending. [5]",
        "2024 was dry. 2025 was not.",
    ],
)
def test_prose_that_looks_like_a_form_is_body(text):
    assert body_spans(text) == [(0, len(text))]


@pytest.mark.parametrize(
    "text", ["Subject: Lift", "BRIDGE CLOSED", "Kind regards,\nTova", "> quoted only, by itself", "--"]
)
def test_a_text_without_body_is_body_as_a_whole(text):
    assert body_spans(text) == [(0, len(text))]


def test_nothing_has_no_body():
    assert body_spans(" \n") == body_sentences("") == []


@given(
    st.lists(
        st.sampled_from(
            ["From: a", "Hi,", "- b c", "1.1 D e f.", "> g", "--", "x", "Sam: h", "[09:02] i", "J k l. M n o!", ""]
        ),
        max_size=12,
    ).map("\n".join)
    | st.text(max_size=120)
)
def test_body_is_in_order_and_within_the_text(text):
    for spans in (body_spans(text), body_sentences(text)):
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    assert bool(body_spans(text)) == bool(text.strip())


@pytest.mark.parametrize("text", [".", "- a\n", "From:\n", "1.1.1\n", "a: \n", "Hi \n", "Aa, ", "By A ", "|", "> "])
def test_no_text_takes_long(text):
    began = time.process_time()
    body_sentences(text * 20_000)
    assert time.process_time() - began < 15
