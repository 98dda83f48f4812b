"""PDF files: lines put together to paragraphs, and what stands on every page left out."""

from bento.page.readers.characters import normalize
from bento.page.readers.formats import READERS
from tests.support.pdf_writer import pdf_file, show

LINES = [
    "The council met on Tuesday evening in the old town hall and agreed to",
    "mend the bridge before the winter. The engineers found cracks in a pil-",
    "lar, and the well-known contractor from Lund will start in May.",
]


def read(pages):
    text, note = READERS[".pdf"](pdf_file(pages))
    return normalize(text), note


def lines(texts, y=700.0, size=11.0, x=60.0, leading=14.0):
    return "\n".join(show(text, size, x, y - at * leading) for at, text in enumerate(texts))


JOINED = " ".join(LINES).replace("pil- lar", "pillar")


NAMES = ["red", "blue", "green", "white", "black", "brown", "small", "large", "new"]


def numbered(number):
    """LINES with a difference in each line."""
    return [line.replace("the", f"the {NAMES[number]}") for line in LINES]


def joined(number):
    return " ".join(numbered(number)).replace("pil- lar", "pillar")


def test_wrapped_lines_and_broken_words_are_put_together():
    assert read([lines(LINES)])[0] == JOINED


def test_gap_indent_heading_and_list_begin_paragraphs():
    page = "\n".join(
        [
            show("The bridge", 16, 60, 730), lines(LINES, 700), lines(LINES, 640),
            lines([f"{chr(149)} open the road", f"{chr(149)} pay the firm"], 580), lines(["The end."], 530),
        ]
    )  # fmt: skip
    assert read([page])[0].split("\n\n") == [
        "The bridge",
        JOINED,
        JOINED,
        "• open the road",
        "• pay the firm",
        "The end.",
    ]


def test_hyphen_of_a_word_that_the_document_writes_so_stays():
    page = lines(["The firm is well-known in the valley, and the other one is also well-", "known far away."])
    assert read([page])[0].endswith("also well-known far away.")


def test_running_headers_footers_and_page_numbers_are_left_out():
    def page(number, title):
        return "\n".join([
            show(f"{title} {number}", 9, 60, 800), lines(numbered(number)), show(f"Page {number} of 6", 9, 280, 40),
        ])  # fmt: skip

    pages = [page(number, "Chapter One" if number < 4 else "Chapter Two") for number in range(1, 7)]
    assert read(pages)[0] == "\n\n".join(map(joined, range(1, 7)))


def test_chapters_that_begin_pages_are_no_running_headers():
    starts = (1, 3, 7)
    texts = map(numbered, range(1, 9))
    pages = [
        lines([f"Chapter {starts.index(at) + 1}", *text] if at in starts else text) for at, text in enumerate(texts, 1)
    ]
    text = read(pages)[0]
    assert [f"Chapter {number}" in text for number in (1, 2, 3)] == [True] * 3


def test_sentence_goes_on_over_pages_notes_and_columns():
    first = lines(LINES[:2]) + "\n" + lines(["1 A note in small letters."], 60, size=8)
    assert read([first, lines(LINES[2:])])[0] == f"{JOINED}\n\n1 A note in small letters."
    columns = lines(LINES[:2], 120, x=60) + "\n" + lines(LINES[2:], 700, x=320)
    assert read([columns])[0] == JOINED


def test_watermark_and_text_up_the_margin_do_not_break_sentences():
    across = "BT /F1 40 Tf 0.7 0.7 -0.7 0.7 150 300 Tm (DRAFT) Tj ET"
    margin = "BT /F1 14 Tf 0 1 -1 0 30 300 Tm (Archive no. 7) Tj ET"
    texts = [numbered(number) for number in range(3)]
    pages = ["\n".join([lines(text[:1]), across, lines(text[1:], 686)]) for text in texts]
    assert read([pages[0] + "\n" + margin, *pages[1:]])[0] == "\n\n".join([*map(joined, range(3)), "Archive no. 7"])


def test_turned_page_is_read_as_it_is_turned():
    page = "\n".join(f"BT /F1 11 Tf 0 1 -1 0 {100 + 14 * at} 60 Tm ({text}) Tj ET" for at, text in enumerate(LINES))
    assert read([page])[0] == JOINED


def test_ligatures_become_letters():
    page = "BT /F1 11 Tf 60 700 Td (The of\256ce closes.) Tj ET"
    content = pdf_file([page]).replace(b"/WinAnsiEncoding", b"<< /Type /Encoding /Differences [174 /fi] >>")
    assert normalize(READERS[".pdf"](content)[0]) == "The ofﬁce closes.".replace("ﬁ", "fi")


def test_soft_hyphen_is_a_hyphen_within_a_line_and_breaks_a_word_at_its_end():
    page = lines(
        ["The well\u00adknown firm from Lund will mend the bridge over the river be\u00ad", "fore the winter begins."]
    )
    assert (
        read([page])[0] == "The well-known firm from Lund will mend the bridge over the river before the winter begins."
    )
