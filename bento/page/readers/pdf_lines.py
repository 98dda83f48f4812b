"""The lines of a PDF's pages with their places, as pypdf reports them, without running headers and footers."""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EDGE_LINES = 3  # of a page, at its top and at its bottom: where running headers and footers are looked for
MIN_REPEATS = 3  # pages with the same line at the same place; in a shorter document, all of them
ANGLE_STEP = 15  # degrees; a scanned page may be turned a little
PLACE_TOLERANCE = 6.0  # points
HEADING = 1.15  # a line this much larger than the body's text is a heading, and no running header
NUMBER = re.compile(r"\d{1,4}")
MAX_NUMBERS = 3
PAGE_NUMBER = re.compile(
    r"\W*(?:(?:page|seite|p\.)\s*)?(\d{1,4})(?:\s*(?:of|/|von|sur|de)\s*\d{1,4})?\W*", re.IGNORECASE
)
SEEN_SOFT_HYPHEN = re.compile("\u00ad(?!$)")
PAGE_AT_END = re.compile(r"(\d{1,4})\s.*|.*\s(\d{1,4})")
ROMAN = re.compile(r"[ivxlc]{1,7}")

# Widths of Helvetica's characters from space to tilde, in thousandths of an em (Adobe Font Metrics); the proportions of
# other fonts are close to these.
WIDTHS = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
]  # fmt: skip
WIDTH, FULL_WIDTH = 556, 1000  # of other characters: letters, and those of Chinese and Japanese


@dataclass(slots=True)
class Line:
    """A line of text. `x` and `y` are the start of its baseline in points, turned so that y falls as one reads on."""

    text: str
    x: float
    y: float
    size: float  # of its letters, in points
    font: str
    angle: int  # in which it is written, in degrees
    page: int

    @property
    def width(self) -> float:
        """Estimated, in points."""
        return text_width(self.text) * self.size


def text_width(text: str) -> float:
    """The estimated width of `text` in ems."""
    return sum(WIDTHS[ord(c) - 32] if " " <= c <= "~" else FULL_WIDTH if c >= "\u2e80" else WIDTH for c in text) / 1000


def page_lines(page: Any, number: int) -> list[Line]:
    """The lines of a pypdf page in the order of its content."""
    lines: list[Line] = []
    fresh = True  # whether the next text begins a line
    longest = 0  # characters of the line's longest part, whose letters count: a bullet may have a size of its own

    def visit(text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        nonlocal fresh, longest
        for at, part in enumerate(text.split("\n")):
            fresh = fresh or at > 0
            if not part.strip():
                if not fresh:
                    lines[-1].text += part
                continue
            line = _line(part, cm, tm, font, size, number)
            if fresh:
                lines.append(line)
                fresh, longest = False, len(part)
                continue
            lines[-1].text += part
            if len(part) > longest:
                lines[-1].size, lines[-1].font, longest = line.size, line.font, len(part)

    page.extract_text(visitor_text=visit)
    for line in lines:
        # Within a line a soft hyphen is seen and so is a hyphen; at its end it breaks a word.
        line.text = SEEN_SOFT_HYPHEN.sub("-", line.text.strip())
    return lines


def _line(text: str, cm: list[float], tm: list[float], font: Any, size: float, page: int) -> Line:
    a, b = tm[0] * cm[0] + tm[1] * cm[2], tm[0] * cm[1] + tm[1] * cm[3]
    c, d = tm[2] * cm[0] + tm[3] * cm[2], tm[2] * cm[1] + tm[3] * cm[3]
    x, y = tm[4] * cm[0] + tm[5] * cm[2] + cm[4], tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
    angle = round(math.degrees(math.atan2(b, a)) / ANGLE_STEP) * ANGLE_STEP % 360
    turn = math.radians(angle)
    along, up = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return Line(text, along, up, abs(size) * math.hypot(c, d) or 1.0, str(font and font.get("/BaseFont")), angle, page)


def body_size(lines: list[Line]) -> float:
    """The size of most letters, in points."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size * 2) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 1.0


def without_running_lines(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages without headers, footers and page numbers that stand at the same place of many pages."""
    size = body_size([line for page in pages for line in page])
    seen: defaultdict[tuple[str, int], set[int]] = defaultdict(set)  # (text, about where): the pages
    keys: dict[int, set[tuple[str, int]]] = {}  # by id of the line
    for number, page in enumerate(pages):
        for line in _edge_lines(page):
            if line.size <= size * HEADING or line.angle != main_angle(page):
                keys[id(line)] = set(_keys(line, number))
                for key in keys[id(line)]:
                    seen[key].add(number)
    needed = min(MIN_REPEATS, max(2, len(pages)))
    running = {key for key, numbers in seen.items() if len(numbers) >= needed}
    bodies = [
        [
            line
            for line in page
            if not keys.get(id(line), set()) & running and not _is_page_number(line, page, len(pages))
        ]
        for page in pages
    ]
    # Pages with nothing else on them were no running lines but the text.
    emptied = sum(bool(page) and not rest for page, rest in zip(pages, bodies, strict=True))
    return pages if emptied * 2 > len(pages) else bodies


def _edge_lines(page: list[Line]) -> list[Line]:
    """The lines at the top and bottom of the page, and those that are written across it (watermarks)."""
    if not page:
        return []
    angle = main_angle(page)
    upright = sorted((line for line in page if line.angle == angle), key=lambda line: -line.y)
    rows = [list(row) for _, row in itertools.groupby(upright, key=lambda line: round(line.y))]
    edges = rows if len(rows) <= 2 * EDGE_LINES else rows[:EDGE_LINES] + rows[-EDGE_LINES:]
    return [line for row in edges for line in row] + [line for line in page if line.angle != angle]


def main_angle(page: list[Line]) -> int:
    """The direction of most of the page's letters, in degrees."""
    angles: Counter[int] = Counter()
    for line in page:
        angles[line.angle] += len(line.text)
    return angles.most_common(1)[0][0]


def _keys(line: Line, page: int) -> Iterator[tuple[str, int]]:
    """What the line has in common with those of other pages: its text, with numbers that count the pages made equal."""
    text = str(_roman(line.text)) if ROMAN.fullmatch(line.text) else line.text
    numbers = NUMBER.findall(text)
    place = round(line.y / PLACE_TOLERANCE)
    if match := PAGE_AT_END.fullmatch(text):  # beside a title that changes from chapter to chapter
        counted = int(match[1] or match[2]) - page
        yield from ((f"#{counted}", place), (f"#{counted}", place + 1))
    for counts in itertools.product((False, True), repeat=min(len(numbers), MAX_NUMBERS)):
        choices = iter(counts)
        key = NUMBER.sub(lambda match: f"#{int(match[0]) - page}" if next(choices, False) else match[0], text)  # noqa: B023
        # A place near the border of two tolerances is in both.
        yield from ((key, place), (key, place + 1))


def _roman(text: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[c] for c in text]
    return sum(
        -value if value < after else value for value, after in itertools.zip_longest(values, values[1:], fillvalue=0)
    )


def _is_page_number(line: Line, page: list[Line], pages: int) -> bool:
    """Whether the line is the number of its page, alone at the top or bottom."""
    match = PAGE_NUMBER.fullmatch(line.text)
    return (
        match is not None and int(match[1]) == line.page + 1 and line in _edge_lines(page)[:1] + _edge_lines(page)[-1:]
    )
