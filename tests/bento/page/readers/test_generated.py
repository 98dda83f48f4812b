"""Generated documents of every format give the text they were made from."""

import random

import pytest

from bento.page.readers.characters import normalize
from bento.page.readers.formats import READERS
from tests.support.generated_documents import MAKERS

FEW = range(8)  # of each format


@pytest.mark.parametrize("suffix", [".docx", ".html", ".md", ".txt"])
@pytest.mark.parametrize("seeds", [FEW, pytest.param(range(8, 40), marks=pytest.mark.slow)], ids=["few", "many"])
def test_generated_document_gives_its_text(suffix, seeds):
    for seed in seeds:
        content, text = MAKERS[suffix](random.Random(seed))
        assert normalize(READERS[suffix](content)[0]) == text, seed


@pytest.mark.parametrize("seeds", [FEW, pytest.param(range(8, 40), marks=pytest.mark.slow)], ids=["few", "many"])
def test_generated_pdf_gives_its_words_and_paragraphs(seeds):
    """Whether a line that fills its column at the end of a page or column ends its paragraph too, nobody can see."""
    for seed in seeds:
        content, text = MAKERS[".pdf"](random.Random(seed))
        read = normalize(READERS[".pdf"](content)[0])
        assert read.split() == text.split(), seed
        assert len(paragraph_ends(read) ^ paragraph_ends(text)) <= content.count(b"/Type /Page "), seed


def paragraph_ends(text):
    """The number of words up to the end of each paragraph."""
    ends, count = set(), 0
    for paragraph in text.split("\n\n"):
        count += len(paragraph.split())
        ends.add(count)
    return ends
