"""Word documents made from a random text, with what people's files hold beside it; the writer of minimal ones."""

import html
import io
import random
import zipfile

from tests.support.random_text import heading, paragraph

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
STRICT = 'xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main"'
OTHERS = (
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:schemas-microsoft-com:vml"'
    ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    ' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)


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
