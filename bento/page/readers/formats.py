"""One reader a file format: the file's bytes to (text, note). They run in the child process only.

The text has an empty line between paragraphs. `note` is a sentence on how the file was read or what was left out, or
empty. A DocumentError's message follows the file's name ("x.pdf has no text in it."). The libraries are imported where
they are used: the child starts for each file and needs one of them.
"""

from collections.abc import Callable

from bento.page.readers.docx_text import read_docx
from bento.page.readers.encodings import decode
from bento.page.readers.html_text import read_html
from bento.page.readers.markdown_text import read_markdown
from bento.page.readers.pdf_text import read_pdf
from bento.page.readers.wrapped_lines import rejoin_wrapped_lines


def read_text(content: bytes) -> tuple[str, str]:
    """A text file; lines of an e-mail or the like that were wrapped at a fixed width are put together again."""
    text, note = decode(content)
    return rejoin_wrapped_lines(text), note


READERS: dict[str, Callable[[bytes], tuple[str, str]]] = {
    ".txt": read_text, ".md": read_markdown, ".html": read_html, ".htm": read_html, ".pdf": read_pdf, ".docx": read_docx
}  # fmt: skip
