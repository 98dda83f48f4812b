"""The readers of dropped files: what they find, and what they refuse, each in its own process."""

import asyncio
import zipfile

import pytest

from bento.page import readers
from bento.page.readers import DocumentError
from tests.support import documents

SENTENCES = [f"Sentence {at} says that the mill was closed in {1900 + at}." for at in range(4)]


def read(path, name=None):
    return asyncio.run(readers.read(path, name))


def test_each_kind_gives_its_sentences_and_nothing_else(tmp_path):
    async def all_of(paths):
        return await asyncio.gather(*map(readers.read, paths))

    for document in asyncio.run(all_of(documents.every_kind(tmp_path, SENTENCES))):
        lines = [line for line in document.text.splitlines() if line and line != "A heading"]
        assert lines == SENTENCES, document.name
        assert document.note == ""


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
def test_text_files_of_any_common_encoding(content, text):
    assert readers._tidy(readers._plain(content)[0]) == text


def zip_bomb(folder):
    path = documents.docx(folder / "bomb.docx", ["x"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/media/zeros", bytes(readers.MAX_UNPACKED))
    assert path.stat().st_size < 1 << 20
    return path


def xml_bomb(folder):
    """A billion laughs, in the document part itself."""
    path = documents.docx(folder / "laughs.docx", ["x"])
    lols = "".join(f'<!ENTITY l{at} "{f"&l{at - 1};" * 10}">' for at in range(1, 10))
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name).decode() for name in file.namelist()}
    document = parts["word/document.xml"].replace(">x<", ">&l9;<")
    parts["word/document.xml"] = f'<!DOCTYPE d [<!ENTITY l0 "lol">{lols}]>{document}'
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def locked(folder):
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(documents.pdf(folder / "open.pdf", SENTENCES)))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(folder / "locked.pdf")
    return folder / "locked.pdf"


def written(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (written("song.mp3", b"x"), "this page reads .txt"),
        (written("noname", b"x"), "this page reads .txt"),
        (written("big.txt", b"x" * (readers.MAX_BYTES + 1)), "larger than 10 MB"),
        (written("empty.txt", b" \n"), "has no text in it"),
        (written("image.txt", b"\x89PNG\0\0"), "is not a text file"),
        (written("broken.pdf", b"%PDF-1.4 nothing"), "cannot be read as pdf"),
        (written("broken.docx", b"PK nothing"), "cannot be read as docx"),
        (lambda folder: documents.pdf(folder / "scan.pdf", [""]), "it may be a scan"),
        (locked, "protected by a password"),
        (zip_bomb, "unpacks to more than 64 MB"),
        (xml_bomb, "cannot be read as docx|no text in it"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_what_cannot_be_read_is_one_sentence(make, words, tmp_path):
    with pytest.raises(DocumentError, match=words) as refusal:
        read(make(tmp_path))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_pages_past_the_limit_are_told(tmp_path):
    pages = [f"Page {at}." for at in range(readers.MAX_PAGES + 2)]
    document = read(documents.pdf(tmp_path / "long.pdf", pages))
    assert document.text.splitlines() == pages[:-2]
    assert document.note == "Only the first 300 of its 302 pages were read."


def test_a_file_that_takes_for_ever_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "SECONDS", -4)  # one second, with the allowance for starting
    with pytest.raises(DocumentError, match="too long or too much memory"):
        read(written("deep.html", b"<div>" * 100_000 + b"x")(tmp_path))
