"""One reader a file format: the file's bytes to (text, note). They run in the child process only.

`note` is a sentence on what was left out, or empty. A DocumentError's message follows the file's name ("x.pdf has no
text in it."). The libraries are imported where they are used: the child starts for each file and needs one of them.
"""

import io
import zipfile
from collections.abc import Callable

from bento.page.limits import MAX_DOCX_BYTES, MAX_PDF_PAGES

BLOCK_TAGS = (
    "address article blockquote br dd div dl dt figcaption h1 h2 h3 h4 h5 h6 hr li ol p pre section table td th tr ul"
)
SKIPPED_TAGS = "script style template noscript nav header footer aside form button svg"


class DocumentError(Exception):
    """The file cannot be read; the message is a sentence for the visitor."""


def read_text(content: bytes) -> tuple[str, str]:
    """A text file."""
    return decode(content), ""


def read_markdown(content: bytes) -> tuple[str, str]:
    """CommonMark with tables."""
    from markdown_it import MarkdownIt

    return _html_text(MarkdownIt("commonmark").enable("table").render(decode(content))), ""


def read_html(content: bytes) -> tuple[str, str]:
    """The visible text of a web page's main part; Beautiful Soup guesses the encoding."""
    return _html_text(content), ""


def read_pdf(content: bytes) -> tuple[str, str]:
    """The text layer of the first pages."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("is protected by a password.")
    page_count = len(reader.pages)
    pages = [page.extract_text() for page in reader.pages[:MAX_PDF_PAGES]]
    if not "".join(pages).strip():
        raise DocumentError("has no text in it; it may be a scan.")
    note = f"Only the first {MAX_PDF_PAGES} of its {page_count} pages were read." if page_count > MAX_PDF_PAGES else ""
    return "\n".join(pages), note


def read_docx(content: bytes) -> tuple[str, str]:
    """Paragraphs and tables of a Word document."""
    import docx
    from docx.table import Table

    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        # A part never unpacks to more than the size that the archive states for it.
        if sum(part.file_size for part in parts.infolist()) > MAX_DOCX_BYTES:
            raise DocumentError(f"unpacks to more than {MAX_DOCX_BYTES >> 20} MB.")
    lines = []
    for block in docx.Document(io.BytesIO(content)).iter_inner_content():
        if isinstance(block, Table):
            lines += [" | ".join(cell.text for cell in row.cells) for row in block.rows]
        else:
            lines.append(block.text)
    return "\n".join(lines), ""


READERS: dict[str, Callable[[bytes], tuple[str, str]]] = {
    ".txt": read_text, ".md": read_markdown, ".html": read_html, ".htm": read_html, ".pdf": read_pdf, ".docx": read_docx
}  # fmt: skip


def decode(content: bytes) -> str:
    """UTF-16 with a byte order mark, else UTF-8, else Windows-1252. Raises DocumentError for binary content.

    No statistical guess: on short texts it is often wrong, and these three cover what editors write.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise DocumentError("is not a text file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def normalize(text: str) -> str:
    """Control characters become spaces, runs of spaces one space, and runs of empty lines one empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    collapsed = [line for line, previous in zip(lines, ["", *lines], strict=False) if line or previous]
    return "\n".join(collapsed).strip()


def _html_text(markup: str | bytes) -> str:
    """The text of the main part, one line a block."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(markup, "html.parser")
    for tag in soup.find_all(SKIPPED_TAGS.split()):
        tag.decompose()
    main = soup.find("main") or soup.find("article") or soup.body or soup
    for text in main.find_all(string=True):
        text.replace_with(text.replace("\n", " "))
    for tag in main.find_all(BLOCK_TAGS.split()):
        tag.insert_before("\n")
        tag.insert_after("\n")
    return main.get_text()
