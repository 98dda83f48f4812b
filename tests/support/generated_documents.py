"""Documents made from a random text, with what people's files hold beside it.

Each maker returns (bytes, expected text). The libraries that read the formats are not used here.
"""

import random
from collections.abc import Callable

from tests.support.generated_docx import docx
from tests.support.generated_markup import markdown, web_page, wrapped_text
from tests.support.generated_pdf import pdf

MAKERS: dict[str, Callable[[random.Random], tuple[bytes, str]]] = {
    ".docx": docx, ".html": web_page, ".md": markdown, ".txt": wrapped_text, ".pdf": pdf
}  # fmt: skip
