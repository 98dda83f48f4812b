"""Reading uploaded files: their text, what is refused, and the limits of the child process."""

import asyncio
import contextlib
import os
import resource
import zipfile
from pathlib import Path

import psutil
import pytest

from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.readers import sandbox
from bento.page.readers.errors import DocumentError
from bento.page.readers.sandbox import cpu_seconds, plan_memory, read_document
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


def nested(folder):
    path = folder / "deep.html"
    path.write_bytes(b"<div>" * 100_000 + b"x")
    return path


def wide_table(folder, columns=2_000_000_000):
    """A table of one cell that spans as many columns as its attribute says, in less than 2 KB."""
    path = documents.docx(folder / "wide.docx", ["x"])
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name).decode() for name in file.namelist()}
    cell = f'<w:tc><w:tcPr><w:gridSpan w:val="{columns}"/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>'
    table = f"<w:tbl><w:tblGrid/><w:tr>{cell}</w:tr></w:tbl>"
    parts["word/document.xml"] = parts["word/document.xml"].replace("<w:body>", "<w:body>" + table)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    assert path.stat().st_size < 2048
    return path


def children_seconds():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def many_runs(folder):
    """A paragraph of a million and a half runs, in some 100 KB."""
    path = documents.docx(folder / "runs.docx", ["x"])
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name).decode() for name in file.namelist()}
    run = "<w:r><w:t>word </w:t></w:r>"
    parts["word/document.xml"] = parts["word/document.xml"].replace("<w:r>", run * 1_500_000 + "<w:r>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    assert path.stat().st_size < 1 << 18
    return path


def test_small_file_cannot_take_long(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "READER_BASE_SECONDS", 1)
    path, before = many_runs(tmp_path), children_seconds()
    with pytest.raises(DocumentError, match=r"too long or too much memory|too much memory"):
        read(path)
    assert children_seconds() - before < 3


def test_levels_and_spanned_columns_cost_nothing(tmp_path):
    before = children_seconds()
    assert read(wide_table(tmp_path)).text == "x\n\nx"
    with pytest.raises(DocumentError, match="has no text in it"):
        read(nested(tmp_path))
    assert children_seconds() - before < 3


def test_file_that_waits_for_ever_is_given_up(tmp_path, monkeypatch):
    """What takes no processor time is bounded by the clock."""
    path = tmp_path / "endless.txt"
    os.mkfifo(path)
    monkeypatch.setattr(limits, "READER_WAIT_FACTOR", 0)
    monkeypatch.setattr(limits, "READER_STARTUP_SECONDS", 1)
    with pytest.raises(DocumentError, match="too long or too much memory"):
        read(path)


def test_output_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "READER_MAX_OUTPUT_BYTES", 1000)
    with pytest.raises(DocumentError, match="too long or too much memory"):
        read(file_with("long.txt", b"word " * 1000)(tmp_path))


def test_file_that_is_gone_is_said_to_be(tmp_path):
    with pytest.raises(DocumentError, match=r"gone\.txt is not here any more; please choose it again\."):
        read(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("container", "children", "bytes_each"),
    [
        (None, 2, 512 << 20),
        (8 << 30, 2, 512 << 20),
        (2 << 30, 2, 256 << 20),
        (1 << 30, 1, 256 << 20),
        (512 << 20, 1, 128 << 20),
    ],
)
def test_children_take_a_fourth_of_the_container_at_most(container, children, bytes_each):
    assert plan_memory(container) == (children, bytes_each)
    assert children * bytes_each <= (container or 4 << 30) / 4


def test_time_grows_with_the_file_up_to_a_limit():
    assert [cpu_seconds(size) for size in (0, 1000, 1 << 20, 4 << 20, 10 << 20)] == [4, 4, 8, 20, 20]


def test_one_visitors_files_do_not_keep_the_others_waiting(tmp_path, monkeypatch):
    """With fifty files before it, another visitor's file is read after one round."""
    monkeypatch.setattr(sandbox, "_queue", AdmissionQueue(rows=1))
    order = []

    async def stand_in(path, suffix, seconds):
        order.append(Path(path).name)
        await asyncio.sleep(0)
        return b'{"text": "x", "note": ""}'

    async def scenario():
        monkeypatch.setattr(sandbox, "_run_reader", stand_in)
        many = [file_with(f"{number}.txt", b"x")(tmp_path) for number in range(50)]
        other = file_with("other.txt", b"x")(tmp_path)
        await asyncio.gather(*(read_document(path, "many") for path in many), read_document(other, "other"))

    asyncio.run(scenario())
    assert order.index("other.txt") <= 2


def test_child_is_nice_and_the_first_to_be_ended_without_memory(tmp_path):
    """What the child sets for itself, seen from outside while it reads."""

    niceness = min(psutil.Process().nice() + limits.READER_NICENESS, 19)

    async def scenario():
        reading = asyncio.create_task(read_document(nested(tmp_path)))
        seen = None
        while seen is None and not reading.done():
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error, OSError):
                    if child.nice() == niceness and child.rlimit(psutil.RLIMIT_CORE)[1] == 0:
                        seen = Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip()
            await asyncio.sleep(0.02)
        reading.cancel()
        await asyncio.wait({reading})
        return seen

    assert asyncio.run(scenario()) == "1000"
