"""Writes an HTML tree as text: one block a paragraph, list item or row of a table, as a browser would lay it out."""

import re
from typing import Any

BLOCK_TAGS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure"
    " footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main menu nav ol p pre search section summary table"
    " tbody td tfoot th thead tr ul"
)
BLOCKS = frozenset(BLOCK_TAGS.split())
PREFORMATTED = frozenset(["pre", "listing", "xmp"])
ROW_GROUPS = frozenset(["thead", "tbody", "tfoot"])
CELL_SEPARATOR = " | "
SPACES = re.compile(r"[ \t\n\r\f]+")


def blocks(root: Any) -> list[str]:
    """The blocks of text within `root`, an lxml element; comments and processing instructions are no text."""
    writer = _Writer()
    writer.element(root)
    writer.end_block()
    return writer.blocks


class _Writer:
    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._line: list[str] = []  # of the block being written
        self._preformatted = 0

    def element(self, element: Any) -> None:
        """Adds an element. It calls itself once a level and is no generator, so that a deep page needs little stack."""
        tag = element.tag
        if tag == "br":
            self._line.append("\n")
            return
        if tag == "table":
            self.end_block()
            self._table(element)
            return
        is_block = tag in BLOCKS
        if is_block:
            self.end_block()
        self._preformatted += tag in PREFORMATTED
        self._text(element.text)
        for child in element:
            if isinstance(child.tag, str):
                self.element(child)
            self._text(child.tail)
        self._preformatted -= tag in PREFORMATTED
        if is_block:
            self.end_block()

    def end_block(self) -> None:
        """Ends the present block, if it has any text."""
        text, self._line = "".join(self._line), []
        if text.strip():
            self.blocks.append("\n".join(line.strip() for line in text.strip().split("\n")))

    def _text(self, text: str | None) -> None:
        if text:
            self._line.append(text if self._preformatted else SPACES.sub(" ", text))

    def _table(self, table: Any) -> None:
        """A row of short cells is one line; cells of several blocks stand one after the other, as in a layout."""
        rows: list[str] = []
        for row in _rows(table):
            cells = [cell_blocks for cell in row if isinstance(cell.tag, str) and (cell_blocks := blocks(cell))]
            if all(len(cell) == 1 and "\n" not in cell[0] for cell in cells):
                rows += [CELL_SEPARATOR.join(cell[0] for cell in cells)] if cells else []
            else:
                self._add_rows(rows)
                rows = []
                self.blocks += [block for cell in cells for block in cell]
        self._add_rows(rows)

    def _add_rows(self, rows: list[str]) -> None:
        if rows:
            self.blocks.append("\n".join(rows))


def _rows(table: Any) -> list[Any]:
    """The table's rows; a caption, or whatever else stands between them, counts as a row of one cell."""
    rows = []
    for child in table:
        if child.tag in ROW_GROUPS:
            rows += _rows(child)
        elif child.tag == "tr":
            rows.append(child)
        elif isinstance(child.tag, str):
            rows.append([child])
    return rows
