"""Documents made from a random text, with what people's files hold beside it.

Each maker returns (bytes, expected text).
The libraries that read the formats are not used here.
"""

import html
import io
import random
import textwrap
import zipfile
from collections.abc import Callable

from bento.page.readers.pdf_lines import WIDTHS

VOCABULARY = (
    "council bridge river winter money engineer harbour station village doctor teacher minister contract report budget"
    " meeting decision factory market school library hospital orchard lighthouse passenger information government"
    " development construction agreement population temperature Müller café naïve coöperation well-known long-term"
    " 2024 1,250 3.5 Anna Lund Berg"
)
SMALL_VOCABULARY = "the a of in on and to for with by from after before under over while because that which not is was"
WORDS, SMALL_WORDS = VOCABULARY.split(), SMALL_VOCABULARY.split()
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
STRICT = 'xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main"'
OTHERS = (
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:schemas-microsoft-com:vml"'
    ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    ' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)
MENU = '<ul><li><a href="/a">NOISE</a></li><li><a href="/b">NOISE</a></li><li><a href="/c">NOISE</a></li></ul>'


def sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS if at % 2 else SMALL_WORDS) for at in range(rng.randint(6, 22))]
    if rng.random() < 0.3:
        words[len(words) // 2] += ","
    return " ".join([words[0].capitalize(), *words[1:]]) + rng.choice("...?!")


def paragraph(rng: random.Random) -> str:
    return " ".join(sentence(rng) for _ in range(rng.randint(1, 4)))


def heading(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS[:30]) for _ in range(rng.randint(2, 5))).capitalize()


def docx(rng: random.Random) -> tuple[bytes, str]:
    """Tracked changes, content controls, smart tags, fields, text boxes, tables, hidden text, notes, comments."""
    noise = "NOISE"
    ignored = (
        f'<w:del w:id="1"><w:r><w:delText>{noise} </w:delText></w:r></w:del>',
        f"<w:moveFrom><w:r><w:t>{noise} </w:t></w:r></w:moveFrom>",
        f"<w:r><w:rPr><w:vanish/></w:rPr><w:t>{noise}</w:t></w:r>",
        '<w:proofErr w:type="spellStart"/><w:bookmarkStart w:id="0" w:name="b"/><w:bookmarkEnd w:id="0"/>',
        '<w:r><w:commentReference w:id="2"/><w:lastRenderedPageBreak/></w:r>',
        f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent><w:r><w:t>{noise}</w:t></w:r></w:sdtContent></w:sdt>",
        "",
        "",
    )
    holders = (
        "{}",
        '<w:ins w:id="3" w:author="A">{}</w:ins>',
        "<w:moveTo>{}</w:moveTo>",
        '<w:smartTag w:element="place">{}</w:smartTag>',
        "<w:sdt><w:sdtPr/><w:sdtContent>{}</w:sdtContent></w:sdt>",
        '<w:hyperlink w:anchor="b">{}</w:hyperlink>',
        '<w:fldSimple w:instr="REF b">{}</w:fldSimple>',
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> REF NOISE </w:instrText></w:r>'
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r>{}<w:r><w:fldChar w:fldCharType="end"/></w:r>',
        '<w:ins><w:sdt><w:sdtContent><w:smartTag w:element="x">{}</w:smartTag></w:sdtContent></w:sdt></w:ins>',
        '<mc:AlternateContent><mc:Choice Requires="wps">{}</mc:Choice>'
        "<mc:Fallback><w:r><w:t>NOISE</w:t></w:r></mc:Fallback></mc:AlternateContent>",
    )

    def run(text: str) -> str:
        if rng.random() < 0.1 and " " in text.strip():
            before, _, after = text.partition(" ")
            return f'<w:r><w:t>{before}</w:t><w:tab/><w:t xml:space="preserve">{after}</w:t></w:r>'
        return f'<w:r><w:t xml:space="preserve">{html.escape(text)}</w:t></w:r>'

    def inline(text: str) -> str:
        parts = []
        while text:
            size = rng.randint(3, 40)  # a run may end within a word
            parts.append(rng.choice(holders).replace("{}", run(text[:size])) + rng.choice(ignored))
            text = text[size:]
        return "".join(parts)

    def block(text: str, extra: str = "") -> str:
        if rng.random() < 0.1 and ". " in text:  # a deleted paragraph mark joins two paragraphs
            first, rest = text.split(". ", 1)
            mark = "<w:pPr><w:rPr><w:del w:id='4'/></w:rPr></w:pPr>"
            return f"<w:p>{mark}{inline(first + '. ')}</w:p><w:p>{inline(rest)}{extra}</w:p>"
        return f"<w:p>{inline(text)}{extra}</w:p>"

    def table(depth: int) -> tuple[str, list[str]]:
        rows, lines = [], []
        for at in range(rng.randint(1, 3)):
            texts = [heading(rng) for _ in range(rng.randint(1, 3))]
            cells = "".join(f"<w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr>{block(text)}</w:tc>" for text in texts)
            if at and rng.random() < 0.5:
                cells += "<w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>"
            row = f"<w:tr>{cells}</w:tr>"
            rows.append(f"<w:ins>{row}</w:ins>" if rng.random() < 0.2 else row)
            lines.append(" | ".join(texts))
        if rng.random() < 0.3:
            rows.append(
                "<w:tr><w:trPr><w:del w:id='5'/></w:trPr><w:tc><w:p><w:r><w:t>NOISE</w:t></w:r></w:p></w:tc></w:tr>"
            )
        blocks = ["\n".join(lines)]
        if depth and rng.random() < 0.4:
            inner, inner_blocks = table(0)
            text = heading(rng)
            rows.append(f"<w:tr><w:tc>{block(text)}{inner}<w:p/></w:tc></w:tr>")
            blocks += [text, *inner_blocks]
        return f"<w:tbl><w:tblPr/><w:tblGrid/>{''.join(rows)}</w:tbl>", blocks

    body, expected, notes = [], [], []
    for _ in range(rng.randint(2, 7)):
        kind, text = rng.random(), paragraph(rng)
        if kind < 0.2:
            xml, blocks = table(1)
            body.append(xml)
            expected += blocks
            continue
        expected.append(text)
        extra = ""
        if kind < 0.4:
            boxed = heading(rng)
            expected.append(boxed)
            box = f"<w:txbxContent><w:p>{inline(boxed)}</w:p></w:txbxContent>"
            extra = (
                f'<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wps:txbx>{box}</wps:txbx></w:drawing>'
                f"</mc:Choice><mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
            )
        elif kind < 0.5:
            notes.append(heading(rng))
            extra = f'<w:r><w:footnoteReference w:id="{len(notes)}"/></w:r>'
        xml = block(text, extra)
        body.append(f"<w:sdt><w:sdtPr/><w:sdtContent>{xml}</w:sdtContent></w:sdt>" if rng.random() < 0.2 else xml)
    namespace = rng.choice([W, STRICT])
    parts = {"document": f"<w:document {namespace} {OTHERS}><w:body>{''.join(body)}<w:sectPr/></w:body></w:document>"}
    if notes:
        separator = '<w:footnote w:type="separator" w:id="0"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>'
        content = "".join(
            f'<w:footnote w:id="{at}"><w:p><w:r><w:footnoteRef/></w:r>{inline(" " + note)}</w:p></w:footnote>'
            for at, note in enumerate(notes, 1)
        )
        parts["footnotes"] = f"<w:footnotes {namespace} {OTHERS}>{separator}{content}</w:footnotes>"
    return docx_archive(parts), "\n\n".join(expected + notes)


def docx_archive(parts: dict[str, str]) -> bytes:
    """A Word document with these XML parts: "document", and "styles", "footnotes" or others that it refers to."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    others = "".join(
        f'<Relationship Id="r{at}" Type="{kind}/{name}" Target="{name}.xml"/>' for at, name in enumerate(parts)
        if name != "document"
    )  # fmt: skip
    main = f'<Relationship Id="r" Type="{kind}/officeDocument" Target="/word/document.xml"/>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("_rels/.rels", f"<Relationships {package}>{main}</Relationships>")
        archive.writestr("word/_rels/document.xml.rels", f"<Relationships {package}>{others}</Relationships>")
        for name, xml in parts.items():
            archive.writestr(f"word/{name}.xml", xml)
    return file.getvalue()


def web_page(rng: random.Random) -> tuple[bytes, str]:
    """Navigation, banners, comments, scripts, hidden parts, entities, inline tags, lists and tables."""

    def text(value: str) -> str:
        escaped = html.escape(value).replace("ü", rng.choice(["ü", "&uuml;", "&#252;", "&#xfc;"]))
        words = escaped.split(" ")
        for at in range(len(words)):
            chance = rng.random()
            if chance < 0.08:
                words[at] = f"<{(tag := rng.choice(['b', 'em', 'span', 'a', 'code', 'mark']))}>{words[at]}</{tag}>"
            elif chance < 0.12:
                words[at] += rng.choice(
                    [
                        "<!-- NOISE -->",
                        "<script>NOISE()</script>",
                        "<span hidden>NOISE</span>",
                        "<?php echo 'NOISE' > 1 ?>",
                    ]
                )
            elif chance < 0.15 and len(words[at]) > 6 and words[at].isalpha():
                words[at] = words[at][:3] + rng.choice(["&shy;", "<wbr>", "&#8203;", "&#x2060;"]) + words[at][3:]
        return "".join(word + rng.choice([" ", " ", "\n    ", "&#32;"]) for word in words).strip()

    surroundings = [
        '<nav><ul><li><a href="/">NOISE</a></li></ul></nav>',
        '<div class="cookie-banner"><p>NOISE NOISE</p></div>',
        "<!--[if lt IE 9]><p>NOISE</p><![endif]-->",
        '<div style="display:none"><p>NOISE</p></div>',
        "<template><p>NOISE</p></template><noscript>NOISE</noscript>",
        "<aside><p>NOISE</p></aside>",
        '<p aria-hidden="true">NOISE</p><![CDATA[NOISE]]>',
        "",
    ]
    title = heading(rng)
    head, blocks = f"<h1>{text(title)}</h1>", [title]
    if rng.random() < 0.5:
        lead = sentence(rng)
        head += f"<p class='lead'>{text(lead)}</p>"
        blocks.append(lead)
    parts = []
    for _ in range(rng.randint(3, 6)):
        kind = rng.random()
        if kind < 0.15:
            items = [sentence(rng) for _ in range(3)]
            tag = rng.choice(["ul", "ol"])
            parts.append(f"<{tag}>" + "".join(f"<li>{text(item)}" for item in items) + f"</{tag}>")
            blocks += items
        elif kind < 0.3:
            rows = [[heading(rng) for _ in range(3)] for _ in range(2)]
            cells = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            parts.append(f"<table>{cells}</table>")
            blocks.append("\n".join(" | ".join(row) for row in rows))
        elif kind < 0.4:
            lines = [sentence(rng), sentence(rng)]
            parts.append(f"<p>{text(lines[0])}<br>{text(lines[1])}</p>")
            blocks.append("\n".join(lines))
        else:
            value = paragraph(rng)
            parts.append(
                rng.choice(["<p>{}</p>", "<div>{}</div>", "<div><div><p>{}</p></div></div>", "<p>{}"]).format(
                    text(value)
                )
            )
            blocks.append(value)
        if rng.random() < 0.3:
            parts.append(f"</p>{rng.choice(surroundings)}")
    shape = rng.choice(
        [
            "<main>{0}{1}</main>",
            "<article><header>{0}</header>{1}</article>",
            "<div id=content>{0}{1}</div>",
            '<form id="aspnetForm"><div>{0}{1}</div></form>',
            "{0}{1}",
            '<div role="main"><section>{0}{1}</section></div>',
        ]
    )
    around = "<header><a href='/'>NOISE</a></header>" + rng.choice([*surroundings, MENU])
    body = f"{around}{shape.format(head, ''.join(parts))}<footer>NOISE</footer>"
    charset = rng.choice(["utf-8", "windows-1252", "iso-8859-1", "utf-16"])
    page = f"<html><head><title>NOISE</title><meta charset='{charset}'></head><body>{body}</body></html>"
    if rng.random() < 0.3:
        page = f"<!DOCTYPE html><meta charset={charset}><title>NOISE</title>{body}"
    return page.encode(charset), "\n\n".join(blocks)


def markdown(rng: random.Random) -> tuple[bytes, str]:
    """Front matter, comments, emphasis, links, lists, tables, code and footnotes."""

    def text(value: str) -> str:
        words = value.split(" ")
        for at in range(1, len(words) - 1):
            chance = rng.random()
            if chance < 0.08:
                words[at] = rng.choice(["**{}**", "*{}*", "`{}`", "[{}](http://x.example/y)", "~~{}~~"]).format(
                    words[at]
                )
            elif chance < 0.1:
                words[at] += "<!-- NOISE -->"
        return rng.choice(["{}", "{}\n<!-- NOISE\n\nNOISE -->"]).format(
            textwrap.fill(" ".join(words), rng.choice([70, 5000]), **WRAP)
        )

    source, blocks, notes = [], [], []
    if rng.random() < 0.4:
        source.append("---\ntitle: NOISE\ndate: 2024-01-01\n---")
    for _ in range(rng.randint(3, 8)):
        kind = rng.random()
        if kind < 0.2:
            title = heading(rng)
            source.append(f"## {title}")
            blocks.append(title)
        elif kind < 0.35:
            items = [sentence(rng) for _ in range(3)]
            source.append("\n".join(f"- {item}" for item in items))
            blocks += items
        elif kind < 0.45:
            rows = [[heading(rng) for _ in range(2)] for _ in range(3)]
            lines = [f"| {' | '.join(row)} |" for row in rows]
            source.append("\n".join([lines[0], "| --- | --- |", *lines[1:]]))
            blocks.append("\n".join(" | ".join(row) for row in rows))
        elif kind < 0.55:
            source.append("```text\nx = 1\ny < 2  <!-- code -->\n```")
            blocks.append("x = 1\ny < 2 <!-- code -->")
        elif kind < 0.65:
            value, note = sentence(rng), sentence(rng)
            notes.append(note)
            source += [f"{value}[^{len(notes)}]", f"[^{len(notes)}]: {note}"]
            blocks.append(value)
        else:
            value = paragraph(rng)
            source.append(rng.choice(["{}", "{}", "<div>\n\n{}\n\n</div>"]).format(text(value)))
            blocks.append(value)
    return "\n\n".join(source).encode(), "\n\n".join(blocks + notes)


WRAP = {"break_long_words": False, "break_on_hyphens": False}


def wrapped_text(rng: random.Random) -> tuple[bytes, str]:
    """An e-mail that was wrapped at a fixed width: headers, paragraphs, list, quotation, signature."""
    width = rng.choice([66, 70, 72, 76, 78])
    source = ["From: Anna Berg <anna@example.org>\nTo: Council\nSubject: The bridge", "Dear all,"]
    expected = list(source)
    for _ in range(rng.randint(2, 5)):
        value = paragraph(rng)
        source.append(textwrap.fill(value, width, **WRAP))
        expected.append(value)
    items = [sentence(rng) for _ in range(2)]
    source.append("\n".join(textwrap.fill(f"- {item}", width, subsequent_indent="  ", **WRAP) for item in items))
    expected.append("\n".join(f"- {item}" for item in items))
    quoted = paragraph(rng)
    source.append("\n".join(f"> {line}" for line in textwrap.wrap(quoted, width - 2, **WRAP)))
    expected.append(f"> {quoted}")
    for block in ("Best regards,\nAnna", "-- \nAnna Berg\nTown hall, room 12"):
        source.append(block)
        expected.append(block.replace("-- ", "--"))
    break_ = rng.choice(["\n", "\r\n"])
    return "\n\n".join(source).replace("\n", break_).encode(
        rng.choice(["utf-8", "utf-16", "utf-16-le", "cp1252"])
    ), "\n\n".join(expected)


def pdf(rng: random.Random) -> tuple[bytes, str]:
    """Pages in one or two columns with running headers and footers, hyphenated words, headings, and indents or gaps."""
    size, columns = rng.choice([9, 10, 11, 12]), rng.choice([1, 1, 2])
    width = 470 if columns == 1 else 225
    leading, indented, justified = size * rng.choice([1.15, 1.3, 1.5]), rng.random() < 0.5, rng.random() < 0.5
    lines: list[tuple[str, float, float, float, float]] = []  # text, size, indent, gap above, word spacing
    expected = []
    for _ in range(rng.randint(20, 50)):
        if rng.random() < 0.15:
            title = ascii_only(heading(rng))
            lines.append((title, size * 1.4, 0, leading * 2, 0))
            expected.append(title)
        value = ascii_only(paragraph(rng))
        first = True
        for text, is_last in wrap_to(value, size, width, size * 1.5 if indented else 0, rng):
            indent = size * 1.5 if indented and first else 0
            free = width - indent - helvetica_width(text) * size
            spacing = free / max(1, text.count(" ")) if justified and not is_last else 0
            lines.append((text, size, indent, leading * (1 if indented or not first else 1.8), spacing))
            first = False
        expected.append(value)
    pages, streams, at = [], [], 0
    while at < len(lines):
        stream = []
        for column in range(columns):
            y = 740.0
            while at < len(lines):
                text, letters, indent, gap, spacing = lines[at]
                if y - gap < 90:
                    break
                y -= gap
                stream.append(show(text, letters, 60 + column * (width + 20) + indent, y, spacing))
                at += 1
        streams.append(stream)
    style = rng.choice(["counted", "both", "title"])
    for number, stream in enumerate(streams, 1):
        header = show("Annual report of the council", 9, 60, 800)
        footer = show(f"Page {number} of {len(streams)}" if style == "both" else str(number), 9, 290, 40)
        pages.append(
            "\n".join(
                {"counted": [*stream, footer], "both": [header, footer, *stream], "title": [header, *stream]}[style]
            )
        )
    return pdf_file(pages), "\n\n".join(expected)


def ascii_only(text: str) -> str:
    return text.translate(str.maketrans("üéïö", "ueio"))


def helvetica_width(text: str) -> float:
    """In ems."""
    return sum(WIDTHS[ord(c) - 32] for c in text) / 1000


def wrap_to(text: str, size: float, width: float, indent: float, rng: random.Random) -> list[tuple[str, bool]]:
    """The lines of `text` with whether each is the last; some long words are hyphenated."""
    lines, line, room = [], "", width - indent
    for word in text.split(" "):
        candidate = f"{line} {word}".strip()
        if helvetica_width(candidate) * size <= room:
            line = candidate
            continue
        head, tail = word[:4] + "-", word[4:]
        fits = helvetica_width(f"{line} {head}") * size <= room
        if len(word) > 8 and word.isalpha() and fits and rng.random() < 0.7:
            lines.append(f"{line} {head}")
            line = tail
        else:
            lines.append(line)
            line = word
        room = width
    return [(text, False) for text in lines] + [(line, True)]


def show(text: str, size: float, x: float, y: float, word_spacing: float = 0) -> str:
    """The operators that show a line of text at (x, y), in points."""
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F1 {size:.2f} Tf {word_spacing:.3f} Tw {x:.2f} {y:.2f} Td ({escaped}) Tj ET"


def pdf_file(pages: list[str]) -> bytes:
    """A PDF of pages with these content streams; /F1 is Helvetica."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for page, stream in enumerate(pages):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table, start = "".join(f"{offset:010d} 00000 n \n" for offset in offsets), len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out.encode("latin-1")


MAKERS: dict[str, Callable[[random.Random], tuple[bytes, str]]] = {
    ".docx": docx, ".html": web_page, ".md": markdown, ".txt": wrapped_text, ".pdf": pdf
}  # fmt: skip
