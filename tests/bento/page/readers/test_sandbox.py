"""Reading uploaded files: their text, what is refused, and the limits of the child process."""

import asyncio
import zipfile

import pytest

from bento.page import limits
from bento.page.readers.formats import DocumentError
from bento.page.readers.sandbox import read_document
from tests.support import documents

SENTENCES = [f"Sentence {number} says that the mill was closed in {1900 + number}." for number in range(4)]


def read(path):
    return asyncio.run(read_document(path))


def test_every_format_gives_its_sentences_and_nothing_else(tmp_path):
    async def read_all(paths):
        return await asyncio.gather(*map(read_document, paths))

    for document in asyncio.run(read_all(documents.every_format(tmp_path, SENTENCES))):
        lines = [line for line in document.text.splitlines() if line and line != "A heading"]
        assert lines == SENTENCES, document.name
        assert document.note == ""


def zip_bomb(folder):
    path = documents.docx(folder / "bomb.docx", ["x"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/media/zeros", bytes(limits.MAX_DOCX_BYTES))
    assert path.stat().st_size < 1 << 20
    return path


def xml_bomb(folder):
    """A billion laughs (nested XML entities) in the document part itself."""
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


def encrypted(folder):
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(documents.pdf(folder / "open.pdf", SENTENCES)))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(folder / "locked.pdf")
    return folder / "locked.pdf"


def file_with(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (file_with("song.mp3", b"x"), "this page reads .txt"),
        (file_with("noname", b"x"), "this page reads .txt"),
        (file_with("big.txt", b"x" * (limits.MAX_FILE_BYTES + 1)), "larger than 10 MB"),
        (file_with("empty.txt", b" \n"), "has no text in it"),
        (file_with("image.txt", b"\x89PNG\0\0"), "is not a text file"),
        (file_with("broken.pdf", b"%PDF-1.4 nothing"), "cannot be read as pdf"),
        (file_with("broken.docx", b"PK nothing"), "cannot be read as docx"),
        (lambda folder: documents.pdf(folder / "scan.pdf", [""]), "it may be a scan"),
        (encrypted, "protected by a password"),
        (zip_bomb, "unpacks to more than 64 MB"),
        (xml_bomb, "cannot be read as docx|no text in it"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_unreadable_file_is_refused_in_one_sentence(make, message, tmp_path):
    with pytest.raises(DocumentError, match=message) as refusal:
        read(make(tmp_path))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_pages_past_the_limit_are_noted(tmp_path):
    pages = [f"Page {at}." for at in range(limits.MAX_PDF_PAGES + 2)]
    document = read(documents.pdf(tmp_path / "long.pdf", pages))
    assert document.text.split("\n\n") == pages[:-2]
    assert document.note == "Only the first 300 of its 302 pages were read."


def test_file_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "READER_SECONDS", 1 - limits.READER_STARTUP_SECONDS)
    with pytest.raises(DocumentError, match="too long or too much memory"):
        read(file_with("long.md", b"*a* [b](c)\n\n" * 500_000)(tmp_path))
