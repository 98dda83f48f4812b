"""Reads dropped files (txt, md, html, pdf, docx) to plain text, in a process of its own with limits.

A file from a stranger can make any reader run for hours or fill the memory. So the readers run in a child that the
operating system stops: `python -m bento.page.readers FILE` prints {"text", "note"} or {"error"} as JSON.
"""

import asyncio
import contextlib
import io
import json
import resource
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 10 << 20  # of a file
MAX_UNPACKED = 64 << 20  # bytes of all parts of a docx
MAX_PAGES = 300  # of a pdf
MAX_CHARACTERS = 2 << 20  # of the text that is found
SECONDS = 20  # of work on one file
MEMORY = 1 << 30  # bytes
AT_ONCE = 2  # files being read, of all visitors

BLOCKS = (
    "address article blockquote br dd div dl dt figcaption h1 h2 h3 h4 h5 h6 hr li ol p pre section table td th tr ul"
)
UNREAD = "script style template noscript nav header footer aside form button svg"

_readers = asyncio.Semaphore(AT_ONCE)


class DocumentError(Exception):
    """The file cannot be read; the text is a sentence for the visitor."""


@dataclass(frozen=True)
class Document:
    """A file's text. `note` tells in a sentence what was left out, or is empty."""

    name: str
    text: str
    note: str = ""


async def read(path: str | Path, name: str | None = None) -> Document:
    """The text of the file at `path`, called `name` before the visitor. Raises DocumentError."""
    name = name or Path(path).name
    kind = Path(name).suffix.lower()
    if kind not in READERS:
        raise DocumentError(f"{name}: this page reads {', '.join(READERS)}.")
    if Path(path).stat().st_size > MAX_BYTES:
        raise DocumentError(f"{name} is larger than {MAX_BYTES >> 20} MB.")
    async with _readers:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(path), kind, cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(child.communicate(), SECONDS + 5)
        except TimeoutError:
            output = b""
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    try:
        found = json.loads(output)
    except ValueError:
        raise DocumentError(f"{name} takes too long or too much memory to read.") from None
    if "error" in found:
        raise DocumentError(f"{name} {found['error']}")
    return Document(name, found["text"], found["note"])


def _plain(content: bytes) -> tuple[str, str]:
    return _decoded(content), ""


def _markdown(content: bytes) -> tuple[str, str]:
    from markdown_it import MarkdownIt

    return _html_text(MarkdownIt("commonmark").enable("table").render(_decoded(content))), ""


def _html(content: bytes) -> tuple[str, str]:
    return _html_text(content), ""


def _html_text(markup: str | bytes) -> str:
    """What a reader sees of a page's main part, a line a block."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(markup, "html.parser")
    for tag in soup.find_all(UNREAD.split()):
        tag.decompose()
    main = soup.find("main") or soup.find("article") or soup.body or soup
    for text in main.find_all(string=True):
        text.replace_with(" ".join(text.replace("\n", " ").split(" ")))
    for tag in main.find_all(BLOCKS.split()):
        tag.insert_before("\n")
        tag.insert_after("\n")
    return main.get_text()


def _pdf(content: bytes) -> tuple[str, str]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("is protected by a password.")
    pages, count = [], len(reader.pages)
    for page in reader.pages[:MAX_PAGES]:
        pages.append(page.extract_text())
    if not "".join(pages).strip():
        raise DocumentError("has no text in it; it may be a scan.")
    note = f"Only the first {MAX_PAGES} of its {count} pages were read." if count > MAX_PAGES else ""
    return "\n".join(pages), note


def _docx(content: bytes) -> tuple[str, str]:
    import docx
    from docx.table import Table

    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        # The reader of zip files gives no more of a part than is stated here.
        if sum(part.file_size for part in parts.infolist()) > MAX_UNPACKED:
            raise DocumentError(f"unpacks to more than {MAX_UNPACKED >> 20} MB.")
    lines = []
    for block in docx.Document(io.BytesIO(content)).iter_inner_content():
        if isinstance(block, Table):
            lines += [" | ".join(cell.text for cell in row.cells) for row in block.rows]
        else:
            lines.append(block.text)
    return "\n".join(lines), ""


READERS = {".txt": _plain, ".md": _markdown, ".html": _html, ".htm": _html, ".pdf": _pdf, ".docx": _docx}


def _decoded(content: bytes) -> str:
    """UTF-16 where a mark says so, UTF-8, or what Windows wrote before it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise DocumentError("is not a text file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _tidy(text: str) -> str:
    """No spaces at the ends of lines, no two empty lines, none of the characters that JSON or a terminal chokes on."""
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip()


def _main(path: str, kind: str) -> None:
    for limit, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    try:
        text, note = READERS[kind](Path(path).read_bytes())
        text = _tidy(text)
        if not text:
            raise DocumentError("has no text in it.")
        if len(text) > MAX_CHARACTERS:
            raise DocumentError(f"holds more than {MAX_CHARACTERS:,} characters.")
        found = {"text": text, "note": note}
    except DocumentError as error:
        found = {"error": str(error)}
    except MemoryError:
        found = {"error": "takes too much memory to read."}
    except Exception:  # the libraries raise whatever a broken file leads them to
        found = {"error": f"cannot be read as {kind.removeprefix('.')}; it may be damaged."}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
