"""Lines of e-mails and plain texts that were wrapped at a fixed width."""

import textwrap

import pytest

from bento.page.readers.characters import normalize
from bento.page.readers.wrapped_lines import rejoin_wrapped_lines

TEXT = (
    "The council met on Tuesday evening in the old town hall. After three hours of debate it agreed to mend the bridge "
    "over the river before the winter begins, and to pay the well-known contractor from Lund two million euros for it."
)


@pytest.mark.parametrize("width", [60, 66, 72, 78])
@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
def test_paragraphs_are_put_together(width, break_):
    wrapped = "\n\n".join([textwrap.fill(TEXT, width), textwrap.fill(TEXT, width)])
    assert rejoin_wrapped_lines(wrapped.replace("\n", break_)) == f"{TEXT}\n\n{TEXT}"


@pytest.mark.parametrize(
    "text",
    [
        "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n"
        "Rough winds do shake the darling buds of May,\nAnd summer's lease hath all too short a date;",
        "Anna Berg\nTown hall, room 12\n1 Market Square\nLund",
        "The first sentence stands on a line of its own.\nThe second one does, too, and is a little longer.\nThis too.",
        "10:02 Anna: are you at the bridge already or still in town?\n10:03 Nils: at the bridge\n10:04 Anna: good",
        "name,price\nThe long name of a thing that costs a lot of money,1200\nhammer,12",
        "- the first item of the list is as long as this line of it\n- the second item\n- the third item",
        TEXT + "\n" + TEXT,
        "",
    ],
    ids=["verse", "address", "sentences", "chat", "csv", "list", "long lines", "empty"],
)
def test_lines_that_were_not_wrapped_stay(text):
    assert rejoin_wrapped_lines(text) == text


def test_headers_quotations_lists_and_signature_keep_their_lines():
    body, item = textwrap.fill(TEXT, 70), textwrap.fill(f"- {TEXT}", 70, subsequent_indent="  ")
    quoted = "\n".join(f"> {line}" for line in textwrap.wrap(TEXT, 68))
    mail = f"From: Anna\nSubject: Bridge\n\n{body}\n{item}\n\n{quoted}\n\n-- \nAnna Berg\nLund"
    expected = f"From: Anna\nSubject: Bridge\n\n{TEXT}\n- {TEXT}\n\n> {TEXT}\n\n--\nAnna Berg\nLund"
    assert normalize(rejoin_wrapped_lines(mail)) == expected


def test_compound_that_was_wrapped_at_its_hyphen_keeps_it():
    wrapped = textwrap.wrap(
        "The council pays the contractor, who is said to be well-known, two million euros for it.", 58
    )
    assert wrapped[0].endswith("well-")
    assert rejoin_wrapped_lines("\n".join(wrapped)).endswith("said to be well-known, two million euros for it.")


def test_indented_paragraphs_stay_apart_and_chinese_lines_join_without_blanks():
    wrapped = textwrap.fill(TEXT, 70, initial_indent="    ")
    assert rejoin_wrapped_lines(f"{wrapped}\n{wrapped}").split("\n") == [f"    {TEXT}", f"    {TEXT}"]
    sentence = "市议会周二开会，同意在冬季之前修复旧桥，费用为两百万欧元，工程将于五月开始，预计十月完成。"
    assert rejoin_wrapped_lines("\n".join(textwrap.wrap(sentence * 3, 36))) == sentence * 3
