"""The text of a PDF: its lines put together to paragraphs."""

import io
import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from bento.page.limits import MAX_DOCUMENT_CHARACTERS, MAX_PDF_PAGES
from bento.page.readers.errors import DocumentError
from bento.page.readers.hyphens import Joiner
from bento.page.readers.pdf_lines import Line, body_size, main_angle, page_lines, text_width, without_running_lines

SMALL = 0.92  # of the body's size; smaller lines at the bottom of a page are notes
GAP = 1.25  # of the usual distance of lines; a larger one separates paragraphs
INDENT, MAX_INDENT = 0.8, 4.0  # ems
MIN_INDENTED = 3  # paragraphs; fewer may be indented by chance
FULL = 0.93  # of the width of the column; the estimate of a line's width is as rough as that
SHORT = 0.7
MIN_COLUMN = 12  # ems; narrower lines were not wrapped but are short
TERMINAL = tuple(".!?:;…。！？")
CLOSING = "\"'”’)]»"
BULLET = re.compile(r"[•◦▪‣●○■□]|[·–*-]\s+\S")
ITEM_NUMBER = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z])[.)]\s+\S")


def read_pdf(content: bytes) -> tuple[str, str]:
    """The text layer of the first pages, an empty line between paragraphs. Raises DocumentError."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("is protected by a password.")
    page_count = len(reader.pages)
    pages: list[list[Line]] = []
    pictures = characters = 0
    for number, page in enumerate(reader.pages[:MAX_PDF_PAGES]):
        pages.append(page_lines(page, number))
        pictures += not pages[-1] and _has_picture(page)
        characters += sum(len(line.text) for line in pages[-1])
        if characters > MAX_DOCUMENT_CHARACTERS:
            break
    if not any(pages):
        raise DocumentError("has no text in it; it may be a scan.")
    notes = []
    if page_count > len(pages):
        notes.append(f"Only the first {len(pages)} of its {page_count} pages were read.")
    if pictures:
        notes.append(f"{pictures} of its pages hold only a picture, which was not read.")
    return "\n\n".join(paragraphs(without_running_lines(pages))), " ".join(notes)


def paragraphs(pages: list[list[Line]]) -> list[str]:
    """The paragraphs of these lines; notes that interrupt a sentence, and text across the page, come last."""
    lines = [line for page in pages for line in page]
    layout = _Layout(lines)
    body: list[Line] = []
    rest: list[Line] = []
    for page in pages:
        angle = main_angle(page) if page else 0
        upright = [line for line in page if line.angle == angle]
        end = len(upright)
        while end and upright[end - 1].size < layout.size * SMALL:
            end -= 1
        if end == 0 or _is_ended(upright[end - 1]):  # nothing goes on after the notes
            end = len(upright)
        body += upright[:end]
        rest += upright[end:] + [line for line in page if line.angle != angle]
    joiner = Joiner("\n".join(line.text for line in lines), breaks_words=True)
    return _joined(body, layout, joiner) + _joined(rest, layout, joiner)


class _Layout:
    """What is usual in a document: the size of its letters, the distance of its lines, the width of its columns."""

    def __init__(self, lines: list[Line]) -> None:
        self.size = body_size(lines)
        below = [(line, after) for line, after in pairwise(lines) if line.page == after.page and line.y > after.y]
        gaps = Counter(round((line.y - after.y) / line.size, 1) for line, after in below)
        self.leading = _commonest({gap: count for gap, count in gaps.items() if 0.8 < gap < 3}, 1, 1.2)  # ems
        shifts = Counter(round((line.x - after.x) / line.size, 1) for line, after in below)
        indents = {shift: count for shift, count in shifts.items() if INDENT < shift < MAX_INDENT}
        self.indent = _commonest(indents, MIN_INDENTED, 0.0)  # ems, of a paragraph's first line
        self._starts = {(line.page, round(line.x)) for line in lines}
        widths: defaultdict[int, list[float]] = defaultdict(list)
        for line in lines:
            widths[_column(line)].append(line.width)
        self._widths = {column: sorted(values)[int(len(values) * 0.9)] for column, values in widths.items()}
        self._widest = max(self._widths.values(), default=0.0)

    def is_indented(self, line: Line) -> bool:
        """Whether the line stands right of others of its page, as first lines of paragraphs do."""
        margin = round(line.x - self.indent * line.size)
        return self.indent > 0 and any((line.page, margin + shift) in self._starts for shift in (-1, 0, 1))

    def fill(self, line: Line, word: str = "") -> float:
        """How much of its column's width the line takes with `word` after it."""
        width = self._widths.get(_column(line), 0.0)
        if width < self._widest / 4:  # a column of its own by chance
            width = self._widest
        if width < MIN_COLUMN * self.size:
            return 0.0
        return (line.width + (text_width(" " + word) * line.size if word else 0.0)) / width


def _commonest(counts: dict[float, int], at_least: int, default: float) -> float:
    """The value that was counted most often, if that is `at_least` so often."""
    value = max(counts, key=counts.__getitem__, default=default)
    return value if counts.get(value, 0) >= at_least else default


def _column(line: Line) -> int:
    return round(line.x / 72)


def _joined(lines: list[Line], layout: _Layout, joiner: Joiner) -> list[str]:
    paragraphs: list[list[Line]] = []
    for line in lines:
        if paragraphs and not _begins_paragraph(paragraphs[-1][0], paragraphs[-1][-1], line, layout):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return [joiner.join([line.text for line in paragraph]) for paragraph in paragraphs]


def _begins_paragraph(first: Line, before: Line, line: Line, layout: _Layout) -> bool:
    """Whether `line` begins a paragraph rather than going on with the one from `first` to `before`."""
    gap = (before.y - line.y) / before.size
    is_ended = _is_ended(before)
    goes_on = line.text[:1].islower() or before.text[-1:] in "-\u2010,\u00ad"
    is_full = layout.fill(before, _first_word(line)) >= FULL
    if abs(line.size - before.size) > 0.1 * before.size or BULLET.match(line.text):
        return True
    if ITEM_NUMBER.match(line.text) and (is_ended or not is_full):  # else the end of a sentence: "in section / 3. The"
        return True
    if line.page != before.page or gap < -0.5:  # a new page or column
        if is_ended:  # with a line that is full by chance, or as the last sentence of a paragraph's first line
            return before is first or not is_full or layout.is_indented(line)
        return not (is_full or goes_on)
    if gap < 0.3:  # the same row
        return False
    if gap > max(layout.leading, 1.0) * GAP and not (goes_on and not is_ended and gap < layout.leading * 2):
        return True
    if before.size > layout.size * 1.1:  # a heading of several lines, perhaps centred
        return False
    indent = (line.x - before.x) / line.size
    if indent > INDENT and before is not first and not goes_on:
        return True
    if indent > INDENT and before is first and not _is_item(first) and not goes_on:
        return True
    if is_ended and before is first and abs(indent) < 0.2 and layout.is_indented(line):  # after one of a single line
        return True
    if line.font != before.font and not goes_on and layout.fill(before) < SHORT:  # a heading in bold letters
        return True
    if is_full or (goes_on and not is_ended):
        return False
    return is_ended or layout.fill(before, _first_word(line)) < SHORT


def _is_item(line: Line) -> bool:
    return (BULLET.match(line.text) or ITEM_NUMBER.match(line.text)) is not None


def _is_ended(line: Line) -> bool:
    """Whether a sentence ends with the line."""
    return line.text.rstrip(CLOSING).endswith(TERMINAL)


def _first_word(line: Line) -> str:
    return line.text.split(maxsplit=1)[0]


def _has_picture(page: Any) -> bool:
    try:
        objects = page["/Resources"]["/XObject"].get_object()
        return any(item.get_object().get("/Subtype") == "/Image" for item in objects.values())
    except (KeyError, AttributeError):
        return False
