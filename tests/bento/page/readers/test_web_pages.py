"""Web pages of the kinds that people save: each page in pages/ beside the text that a reader would call its own."""

from collections import Counter
from pathlib import Path

import pytest

from bento.page.readers.characters import normalize
from bento.page.readers.formats import READERS

PAGES = sorted(Path(__file__, "../pages").resolve().glob("*.html"))
# What is left of the surroundings: a menu of the nineties in a cell, a site's name, the line under a title.
LEFT_OVER = {
    "layout_tables": "Home Tours Board Links",
    "press_release": "Nordvolt",
    "wiki": "From the Wiki, the free encyclopedia",
}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_gives_its_text(path):
    text = normalize(READERS[".html"](path.read_bytes())[0])
    expected = path.with_suffix(".txt").read_text()
    if path.stem not in LEFT_OVER:
        assert text == expected.strip()
    assert Counter(text.split()) - Counter(expected.split()) == Counter(LEFT_OVER.get(path.stem, "").split())
    assert not Counter(expected.split()) - Counter(text.split())


def test_there_are_twenty_pages():
    assert len(PAGES) == 20


def read(markup, encoding="utf-8"):
    text, note = READERS[".html"](markup.encode(encoding))
    return normalize(text), note


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("windows-1252", "iso-8859-1"),
        ("shift_jis", "x-sjis"),
        ("gb18030", "gb2312"),
        ("koi8-r", "koi8-r"),
        ("utf-8", "iso-8859-1"),
        ("utf-16", "utf-8"),
    ],
)
def test_declared_encoding_is_taken_as_browsers_take_it(encoding, declared):
    sentence = {"windows-1252": "“Grüße” – 5 €", "koi8-r": "Мост"}.get(encoding, "橋")
    page = f"<html><head><meta http-equiv=Content-Type content='text/html; charset={declared}'></head><p>{sentence}</p>"
    assert read(page, encoding) == (sentence, "")


def test_wrong_declaration_is_replaced_by_a_guess_and_told():
    page = "<meta charset=utf-8><p>Der Rat beschloss, die alte Brücke vor dem Winter zu reparieren.</p>"
    text, note = read(page, "windows-1252")
    assert text == "Der Rat beschloss, die alte Brücke vor dem Winter zu reparieren."
    assert note == "Its encoding was taken to be windows-1252."


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<!DOCTYPE html><title>T</title>Only text &amp; more", "Only text & more"),
        ("<p>a <b>b<!-- c --> d</b>", "a b d"),
        ("<ul><li>one<li>two</ul>", "one\n\ntwo"),
        ("<dl><dt>Term<dd>Meaning</dl>", "Term\n\nMeaning"),
        ("<pre>a  =  1\nb</pre>", "a = 1\nb"),
        ("<p>Kan<wbr>ji <ruby>漢<rp>(</rp><rt>kan</rt></ruby></p>", "Kanji 漢"),
        ("<article><header><h1>Head</h1><p>Lead.</p></header><p>Body.</p></article>", "Head\n\nLead.\n\nBody."),
        ("<p>x<sup>2</sup> holds<sup><a href='#n1'>[1]</a></sup>.</p>", "x2 holds."),
        ("<style>.a,#b{display:none}@media print{i{display:none}}</style><i class=a>1</i><i id=b>2</i><i>3", "3"),
        ("<div class=menu><p>Soup of the day, bread and wine.</p></div>", "Soup of the day, bread and wine."),
        ("<p>one<p hidden>two<p style='DISPLAY : none'>three<p>four", "one\n\nfour"),
        ("a<div hidden>x</div>b", "ab"),
        ("<table><tr><td rowspan=2>a<td>b<tr><td>c</table>", "a | b\nc"),
        ("<p>a</p><?php if ($x > 1) { echo '<p>b</p>'; } ?><p>c</p>", "a\n\nc"),
        ("<nav><a href=/>Home</a></nav>", "Home"),
        ("<pre>x <span class='hljs-comment'># one</span>\ny</pre><p>Text of it.</p>", "x # one\ny\n\nText of it."),
        ("<p>Enough text for a page.</p><p>See:</p><ul><li><a>One</a><li><a>Two</a><li><a>Three</a></ul>",
         "Enough text for a page.\n\nSee:\n\nOne\n\nTwo\n\nThree"),
    ],
)  # fmt: skip
def test_markup_gives_what_a_browser_shows(markup, text):
    assert read(markup)[0] == text
