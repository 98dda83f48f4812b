"""Word documents: what is read once, what is left out, and in which order."""

import zipfile

import pytest

from bento.page.readers.docx_text import read_docx
from bento.page.readers.errors import DocumentError
from tests.support.generated_docx import OTHERS, W, docx_archive


def read(body, **parts):
    return read_docx(
        docx_archive({"document": f"<w:document {W} {OTHERS}><w:body>{body}</w:body></w:document>", **parts})
    )[0]


def p(text, properties=""):
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


STYLES = (
    f'<w:styles {W}><w:style w:styleId="Secret"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:styleId="TOC1"><w:name w:val="toc 1"/></w:style></w:styles>'
)


def r(content, properties=""):
    """A run of text, or of elements."""
    text = content if content.startswith("<") else f'<w:t xml:space="preserve">{content}</w:t>'
    return f"<w:r>{properties}{text}</w:r>"


def table(*rows):
    """A table of rows of cells, each of them XML."""
    cells = ["".join(f"<w:tc>{cell}</w:tc>" for cell in row) for row in rows]
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def inline(*parts):
    """A paragraph of these parts."""
    return f"<w:p>{''.join(parts)}</w:p>"


HIDDEN, SHOWN = "<w:rPr><w:vanish/></w:rPr>", "<w:rPr><w:vanish w:val='0'/></w:rPr>"
BEGIN, MIDDLE, END = (r(f"<w:fldChar w:fldCharType='{kind}'/>") for kind in ("begin", "separate", "end"))
SPANNED, FIRST, COVERED = (
    f"<w:tcPr>{merge}</w:tcPr>" for merge in ("<w:gridSpan w:val='3'/>", "<w:vMerge w:val='restart'/>", "<w:vMerge/>")
)
PROMPT = f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{r('Enter text')}</w:sdtContent></w:sdt>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (inline(r("The price is "), f"<w:sdt><w:sdtContent>{r('2')}</w:sdtContent></w:sdt>", r(" euros.")),
         "The price is 2 euros."),
        (p("a") + f"<w:sdt><w:sdtContent>{p('b')}</w:sdtContent></w:sdt>" + p("c"), "a\n\nb\n\nc"),
        (inline(f"<w:ins>{r('new')}</w:ins>", "<w:del><w:r><w:delText>old</w:delText></w:r></w:del>"), "new"),
        (inline(f"<w:moveFrom>{r('x')}</w:moveFrom>") + inline(f"<w:moveTo>{r('x')}</w:moveTo>"), "x"),
        (p("a", "<w:pPr><w:rPr><w:del/></w:rPr></w:pPr>") + p("b"), "ab"),
        (inline(f"<w:smartTag>{r('Lund')}</w:smartTag>", f"<w:hyperlink>{r(' here')}</w:hyperlink>"), "Lund here"),
        (table([SPANNED + p("a"), p("b")]), "a | b"),
        (table([FIRST + p("a"), p("b")], [COVERED + p("gone"), p("c")]), "a | b\nc"),
        (table([p("a") + table([p("b")]) + p("c")]), "a\n\nb\n\nc"),
        (inline(r("<w:t>a</w:t><w:br/><w:t>b</w:t><w:tab/><w:t>c</w:t>")), "a\nb\tc"),
        (inline(r("<w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t><w:softHyphen/><w:t>e</w:t>")), "c-de"),
        (inline(r("x", HIDDEN), r("y", SHOWN)), "y"),
        (inline(r("x", "<w:rPr><w:rStyle w:val='Secret'/></w:rPr>"), r("y")), "y"),
        (p("Contents 3", "<w:pPr><w:pStyle w:val='TOC1'/></w:pPr>") + p("a"), "a"),
        (inline(PROMPT, r("y")), "y"),
        (inline("<m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath>", r(".")), "E=mc."),
        (inline(r(f"<w:ruby><w:rt>{r('kan')}</w:rt><w:rubyBase>{r('漢')}</w:rubyBase></w:ruby>")), "漢"),
        (inline(r("<w:sym w:char='F0E0'/>"), r("a"), r("<w:sym w:char='20AC'/>")), "a€"),
        (inline(BEGIN, r("<w:instrText>IF</w:instrText>"), r("code"), MIDDLE, r("seen"), END), "seen"),
        (inline(BEGIN, r("IF"), BEGIN, r("code"), MIDDLE, r("value"), END, MIDDLE, r("seen"), END), "seen"),
    ],
)  # fmt: skip
def test_text_is_read_as_word_shows_it(body, text):
    assert read(body, styles=STYLES) == text


def test_text_box_is_read_once_after_its_paragraph():
    box = f"<w:txbxContent>{p('boxed')}</w:txbxContent>"
    drawing = (
        f"<mc:AlternateContent><mc:Choice><w:drawing><wps:txbx>{box}</wps:txbx></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent>"
    )
    assert read(f"<w:p><w:r>{drawing}<w:t>anchor</w:t></w:r></w:p>{p('next')}") == "anchor\n\nboxed\n\nnext"


def test_notes_come_last_and_comments_and_headers_not_at_all():
    notes = f'<w:footnotes {W}><w:footnote w:id="1">{p("note")}</w:footnote></w:footnotes>'
    comments = f"<w:comments {W}><w:comment>{p('remark')}</w:comment></w:comments>"
    header = f"<w:hdr {W}>{p('Draft')}</w:hdr>"
    body = '<w:p><w:r><w:t>a</w:t><w:footnoteReference w:id="1"/></w:r></w:p>' + p("b")
    assert read(body, footnotes=notes, comments=comments, header=header) == "a\n\nb\n\nnote"


def test_older_or_locked_word_file_is_refused_in_a_sentence():
    with pytest.raises(DocumentError, match="protected by a password or of an older version of Word"):
        read_docx(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))


def test_main_part_is_found_under_another_name(tmp_path):
    path = tmp_path / "x.docx"
    path.write_bytes(docx_archive({"document": f"<w:document {W}><w:body>{p('a')}</w:body></w:document>"}))
    with zipfile.ZipFile(path) as archive:
        parts = {
            name: archive.read(name).decode().replace("document.xml", "document2.xml") for name in archive.namelist()
        }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("document.xml", "document2.xml"), content)
    assert read_docx(path.read_bytes())[0] == "a"
