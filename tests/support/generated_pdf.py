"""PDFs made from a random text, laid out as people's files are."""

import random

from bento.page.readers.pdf_lines import WIDTHS
from tests.support.pdf_writer import pdf_file, show
from tests.support.random_text import heading, paragraph


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
