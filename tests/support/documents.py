"""Writes a file of every format the page reads, without the libraries that read them."""

from pathlib import Path

from tests.support.generated_docx import W, docx_archive
from tests.support.pdf_writer import pdf_file, show


def docx(path: Path, paragraphs: list[str]) -> Path:
    """A minimal Word document."""
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    path.write_bytes(docx_archive({"document": f"<w:document {W}><w:body>{body}</w:body></w:document>"}))
    return path


def pdf(path: Path, pages: list[str]) -> Path:
    """A PDF with one line of ASCII a page."""
    path.write_bytes(pdf_file([show(line, 11, 40, 780) for line in pages]))
    return path


def every_format(folder: Path, sentences: list[str]) -> list[Path]:
    """The sentences (plain ASCII) as txt, md, html, pdf and docx."""
    text, markdown, html = folder / "plain.txt", folder / "marked.md", folder / "web.html"
    text.write_text("\n".join(sentences))
    markdown.write_text("# A heading\n\n" + "\n\n".join(f"*{first}* {rest}" for first, rest in map(_split, sentences)))
    paragraphs = "".join(f"<p>{first} <b>{rest}</b></p>" for first, rest in map(_split, sentences))
    html.write_text(f"<html><nav>Home</nav><script>alert(1)</script><main>{paragraphs}</main></html>")
    return [text, markdown, html, pdf(folder / "paper.pdf", sentences), docx(folder / "letter.docx", sentences)]


def _split(sentence: str) -> list[str]:
    return sentence.split(" ", 1)
