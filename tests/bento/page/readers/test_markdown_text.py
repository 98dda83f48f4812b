"""Markdown: what its marks stand for, and what is not text."""

import pytest

from bento.page.readers.characters import normalize
from bento.page.readers.markdown_text import read_markdown


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("# Minutes\n\n<!-- draft, do not publish -->\n\nThe council met.", "Minutes\n\nThe council met."),
        ("The council<!-- who? --> met.", "The council met."),
        ("---\ntitle: x\ntags: [a]\n---\nText.", "Text."),
        ("\ufeff---\r\ntitle: x\r\n---\r\n\r\nText.", "Text."),
        ('+++\ntitle = "x"\n+++\nText.', "Text."),
        ("---\n\nText after a rule.\n\n---\n\nMore.", "Text after a rule.\n\nMore."),
        (
            "A [link](http://x.example 'title') and ![picture](p.png) and <http://y.example>.",
            "A link and and http://y.example.",
        ),
        ("[//]: # (a comment)\n\nText.", "Text."),
        ("A fact.[^n]\n\n[^n]: Its source.\n\nMore.", "A fact.\n\nMore.\n\nIts source."),
        ("| a | b |\n|---|---|\n| 1 | **2** |", "a | b\n1 | 2"),
        ("Term\n: Meaning", "Term\n\nMeaning"),
        ("- [ ] open\n- [x] done", "open\n\ndone"),
        ("```py\nx = 1\n\ny = '<!-- 2 -->'\n```", "x = 1\n\ny = '<!-- 2 -->'"),
        ("A line\nthat is wrapped\\\nand broken.", "A line that is wrapped\nand broken."),
        ("~~old~~ *new* `code` &amp; &shy;more", "old new code & more"),
        ("<details><summary>Why</summary>\n\nBecause.\n\n</details>", "Why\n\nBecause."),
        ("1 * 2 * 3 and snake_case_name", "1 * 2 * 3 and snake_case_name"),
    ],
)
def test_markdown_gives_what_is_shown(source, text):
    assert normalize(read_markdown(source.encode())[0]) == text
