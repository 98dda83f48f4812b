"""The text of a Word document (.docx), read from its XML in the order of the document.

Tracked changes count as accepted: inserted text is read, deleted text is not. Text boxes, nested tables, content
controls and notes are read once. Left out: headers and footers, comments, field codes, hidden text, tables of contents.
"""

import io
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bento.page.limits import MAX_DOCX_BYTES
from bento.page.readers.errors import DocumentError

OLE_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of .doc files and of encrypted .docx files
CELL_SEPARATOR = " | "
MAIN_PART = "/relationships/officeDocument"
NOTE_PARTS = ("/relationships/footnotes", "/relationships/endnotes")
STYLES_PART = "/relationships/styles"
# What is not shown as text. `moveFrom` is the place that moved text left, `rt` a pronunciation above a word.
SKIPPED = frozenset(["del", "moveFrom", "pPr", "rPr", "tblPr", "trPr", "tcPr", "sdtPr", "sectPr", "rt"])
CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}


def read_docx(content: bytes) -> tuple[str, str]:
    """The text of the document's body and notes, an empty line between paragraphs. Raises DocumentError."""
    if content.startswith(OLE_FILE):
        raise DocumentError("is protected by a password or of an older version of Word; save it as docx without one.")
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        # A part never unpacks to more than the size that the archive states for it.
        if sum(part.file_size for part in parts.infolist()) > MAX_DOCX_BYTES:
            raise DocumentError(f"unpacks to more than {MAX_DOCX_BYTES >> 20} MB.")
        [main] = _related(parts, "", MAIN_PART)
        styles = [_parse(parts, name) for name in _related(parts, main, STYLES_PART)]
        hidden = {style for root in styles for style in _hidden_styles(root)}
        contents = {style for root in styles for style in _contents_styles(root)}
        texts = _Blocks(hidden, contents).read(_parse(parts, main))
        for kind in NOTE_PARTS:
            for name in _related(parts, main, kind):
                texts += _Blocks(hidden, contents).read(_parse(parts, name))
    return "\n\n".join(texts), ""


@dataclass
class _Paragraph:
    """The paragraph being read: its text, and the blocks of text boxes that are anchored in it."""

    text: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)


class _Blocks:
    """Walks one part. XML is at most 256 levels deep, a limit of lxml, so recursion ends."""

    def __init__(self, hidden_styles: set[str], contents_styles: set[str]) -> None:
        self._hidden_styles, self._contents_styles = hidden_styles, contents_styles
        self._fields: list[bool] = []  # of each open complex field, whether its code (not its result) is being read
        self._unfinished: _Paragraph | None = None  # its paragraph mark is deleted: it goes on in the next one

    def read(self, element: Any) -> list[str]:
        """The blocks within `element`: paragraphs and rows of tables."""
        blocks = list(self._blocks(element))
        return blocks + self._end_unfinished()

    def _blocks(self, element: Any) -> Iterator[str]:
        for child in element.iterchildren("{*}*"):
            name = _name(child)
            if name == "p":
                yield from self._paragraph(child)
            elif name == "tbl":
                yield from self._end_unfinished()
                yield from self._table(child)
            elif name == "AlternateContent":
                yield from self._blocks(_alternative(child))
            elif name not in SKIPPED and not _is_table_of_contents(child) and not _is_placeholder(child):
                yield from self._blocks(child)

    def _paragraph(self, element: Any) -> Iterator[str]:
        properties = _child(element, "pPr")
        if _style(properties) in self._contents_styles:
            return
        paragraph = self._unfinished or _Paragraph()
        self._unfinished = None
        if _style(properties) not in self._hidden_styles:
            self._inline(element, paragraph)
        if _child(_child(properties, "rPr"), "del") is not None:
            self._unfinished = paragraph
            return
        yield from _finished(paragraph)

    def _end_unfinished(self) -> list[str]:
        paragraph, self._unfinished = self._unfinished, None
        return list(_finished(paragraph)) if paragraph else []

    def _inline(self, element: Any, paragraph: _Paragraph) -> None:
        """Adds the text within `element` to `paragraph`."""
        for child in element.iterchildren("{*}*"):
            name = _name(child)
            if name == "fldChar":
                self._field(_attribute(child, "fldCharType"))
            elif name in SKIPPED or (name == "r" and self._is_hidden(child)) or _is_placeholder(child):
                continue
            elif name in ("t", "sym") or name in CHARACTERS:
                if not any(self._fields):
                    paragraph.text.append(_characters(child))
            elif name == "txbxContent":
                paragraph.boxes += _Blocks(self._hidden_styles, self._contents_styles).read(child)
            else:
                self._inline(_alternative(child) if name == "AlternateContent" else child, paragraph)

    def _field(self, kind: str | None) -> None:
        """A complex field is its code, then "separate", then its result, which is what is seen."""
        if kind == "begin":
            self._fields.append(True)
        elif kind == "separate" and self._fields:
            self._fields[-1] = False
        elif kind == "end" and self._fields:
            self._fields.pop()

    def _is_hidden(self, run: Any) -> bool:
        properties = _child(run, "rPr")
        vanish = _child(properties, "vanish")
        return _is_on(vanish) if vanish is not None else _style(properties) in self._hidden_styles

    def _table(self, table: Any) -> Iterator[str]:
        """A row of short cells is one line; cells of several paragraphs stand one after the other, as in a layout."""
        rows: list[str] = []
        for row in _descend(table, "tr"):
            if _child(_child(row, "trPr"), "del") is not None:
                continue
            cells = [self.read(cell) for cell in _descend(row, "tc") if not _is_covered(cell)]
            cells = [cell for cell in cells if cell]
            if all(len(cell) == 1 for cell in cells):
                rows += [CELL_SEPARATOR.join(" ".join(cell[0].split("\n")) for cell in cells)] if cells else []
            else:
                if rows:
                    yield "\n".join(rows)
                    rows = []
                for cell in cells:
                    yield from cell
        if rows:
            yield "\n".join(rows)


def _finished(paragraph: _Paragraph) -> Iterator[str]:
    if text := "".join(paragraph.text).strip():
        yield text
    yield from paragraph.boxes


def _descend(element: Any, name: str) -> Iterator[Any]:
    """The rows of a table or the cells of a row, also those within content controls or tracked insertions."""
    for child in element.iterchildren("{*}*"):
        if _name(child) == name:
            yield child
        elif _name(child) not in SKIPPED:
            yield from _descend(child, name)


def _is_covered(cell: Any) -> bool:
    """Whether a cell is deleted, or the continuation of the cell above it (merged cells)."""
    properties = _child(cell, "tcPr")
    merge = _child(properties, "vMerge")
    return _child(properties, "cellDel") is not None or (
        merge is not None and _attribute(merge, "val") in (None, "continue")
    )


def _is_table_of_contents(element: Any) -> bool:
    gallery = _child(_child(_child(element, "sdtPr"), "docPartObj"), "docPartGallery")
    return gallery is not None and _attribute(gallery, "val") == "Table of Contents"


def _is_placeholder(element: Any) -> bool:
    """Whether a content control is empty and shows its prompt ("Click here to enter text")."""
    return _child(_child(element, "sdtPr"), "showingPlcHdr") is not None


def _alternative(element: Any) -> Any:
    """The first of the alternatives, which all show the same thing (a text box as DrawingML and as VML)."""
    return next(element.iterchildren("{*}Choice", "{*}Fallback"), element)


def _characters(element: Any) -> str:
    """The text of one element of a run."""
    name = _name(element)
    if name == "sym":  # most characters of symbol fonts have no equivalent in Unicode and are left out
        code = int(_attribute(element, "char") or "0", 16)
        return "" if code < 0x20 or 0xD800 <= code < 0xF900 else chr(code)
    return CHARACTERS.get(name) or element.text or ""


def _hidden_styles(styles: Any) -> Iterator[str]:
    """The styles whose text is hidden."""
    for style in styles.iterchildren("{*}style"):
        vanish = _child(_child(style, "rPr"), "vanish")
        if vanish is not None and _is_on(vanish):
            yield _attribute(style, "styleId") or ""


def _contents_styles(styles: Any) -> Iterator[str]:
    """The styles of the lines of a table of contents: "toc 1", "toc 2"."""
    for style in styles.iterchildren("{*}style"):
        name = _child(style, "name")
        if name is not None and (_attribute(name, "val") or "").lower().startswith("toc "):
            yield _attribute(style, "styleId") or ""


def _style(properties: Any) -> str | None:
    """The style that the properties of a paragraph or run name."""
    for name in ("pStyle", "rStyle"):
        if (style := _child(properties, name)) is not None:
            return _attribute(style, "val")
    return None


def _is_on(toggle: Any) -> bool:
    return _attribute(toggle, "val") not in ("0", "false", "off")


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2]


def _child(element: Any, name: str) -> Any:
    """The first child with this local name; None if there is none, or no element."""
    return None if element is None else next(element.iterchildren(f"{{*}}{name}"), None)


def _attribute(element: Any, name: str) -> str | None:
    """An attribute by its local name: transitional and strict documents have different namespaces."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def _related(parts: zipfile.ZipFile, source: str, kind: str) -> list[str]:
    """The names of the parts to which `source` has a relationship of this kind; "" is the package itself."""
    folder, name = posixpath.split(source)
    relationships = posixpath.join(folder, "_rels", f"{name}.rels")
    if relationships not in parts.namelist():
        return []
    return [
        posixpath.normpath(posixpath.join("/", folder, relation.get("Target"))).lstrip("/")
        for relation in _parse(parts, relationships).iterchildren("{*}Relationship")
        if relation.get("Type", "").endswith(kind) and relation.get("TargetMode") != "External"
    ]


def _parse(parts: zipfile.ZipFile, name: str) -> Any:
    """The root of a part; entities are not expanded and nothing is loaded."""
    from lxml import etree

    return etree.fromstring(parts.read(name), etree.XMLParser(resolve_entities=False, no_network=True))
