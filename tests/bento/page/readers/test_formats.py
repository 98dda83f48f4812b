"""Encodings of text files."""

import pytest

from bento.page.readers.characters import normalize
from bento.page.readers.formats import read_text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("naïve café".encode(), "naïve café"),
        ("\ufeffnaïve".encode(), "naïve"),
        ("naïve café".encode("utf-16"), "naïve café"),
        ("naïve – café".encode("cp1252"), "naïve – café"),
        (b"one\r\n\r\n\r\n\r\ntwo \x07\t three\r", "one\n\ntwo three"),
    ],
)
def test_text_files_of_common_encodings_are_read(content, text):
    assert normalize(read_text(content)[0]) == text
