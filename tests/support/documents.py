"""Writes a file of every format the page reads, without the libraries that read them."""

import zipfile
from pathlib import Path


def pdf(path: Path, pages: list[str]) -> Path:
    """A minimal PDF with one line of ASCII a page."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page, text in enumerate(pages):
        stream = f"BT /F1 11 Tf 40 780 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    xref = len(out)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n"
    path.write_bytes(out.encode("ascii"))
    return path


def docx(path: Path, paragraphs: list[str]) -> Path:
    """A minimal Word document."""
    formats = "http://schemas.openxmlformats.org"
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    relationships = "application/vnd.openxmlformats-package.relationships+xml"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    relation = f'Type="{formats}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{formats}/package/2006/content-types">'
        f'<Default Extension="rels" ContentType="{relationships}"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{formats}/package/2006/relationships">'
        f'<Relationship Id="rId1" {relation}/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{formats}/wordprocessingml/2006/main">'
        f"<w:body>{body}</w:body></w:document>",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def every_format(folder: Path, sentences: list[str]) -> list[Path]:
    """The sentences (plain ASCII) as txt, md, html, pdf and docx."""
    text, markdown, html = folder / "plain.txt", folder / "marked.md", folder / "web.html"
    text.write_text("\n".join(sentences))
    markdown.write_text("# A heading\n\n" + "\n\n".join(f"*{first}* {rest}" for first, rest in map(_split, sentences)))
    paragraphs = "".join(f"<p>{first} <b>{rest}</b></p>" for first, rest in map(_split, sentences))
    html.write_text(f"<html><nav>Home</nav><script>alert(1)</script><main>{paragraphs}</main></html>")
    return [text, markdown, html, pdf(folder / "paper.pdf", sentences), docx(folder / "letter.docx", sentences)]


def _split(sentence: str) -> list[str]:
    return sentence.split(" ", 1)
