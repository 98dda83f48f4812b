"""Cleans extracted text: signs that nobody sees are dropped, blanks and line breaks are made uniform."""

import re
import unicodedata

LINE_BREAKS = re.compile(r"\r\n|[\r\n\x0b\x85\u2028]")
PARAGRAPH_BREAKS = re.compile(r"[\x0c\u2029]")
LIGATURES = str.maketrans({chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)})
JOINERS = "\u200c\u200d"
# Scripts in which a joiner decides how the letters beside it are written: Arabic to Myanmar, and so on.
JOINING = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1a20-\u1cdf\ua840-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
VISIBLE_FORMATS = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd]")
TAGS = re.compile("(?<=\U0001f3f4)[\U000e0020-\U000e007e]+\U000e007f")  # the flags of England, Scotland and Wales
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # fillers that count as letters or marks
MAX_LINE_BREAKS = 2


def normalize(text: str) -> str:
    """`text` as it is seen: runs of blanks are one space, paragraphs are separated by one empty line at most.

    Format characters (soft hyphen, word joiner, zero-width space, direction marks) vanish without a blank. Joiners stay
    between letters of scripts that are written with them and within emoji.
    """
    text = PARAGRAPH_BREAKS.sub("\n\n", LINE_BREAKS.sub("\n", text)).translate(LIGATURES)
    if not text.isascii():
        text = _without_invisible(text)
    text = "".join(c if c.isprintable() or c in "\n\t" or c > "\x9f" else " " for c in text)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    collapsed = [line for line, previous in zip(lines, ["", *lines], strict=False) if line or previous]
    return "\n".join(collapsed).strip()


def _without_invisible(text: str) -> str:
    kept_tags = {at for match in TAGS.finditer(text) for at in range(*match.span())}
    return "".join(_visible(text, at, c, kept_tags) if c > "\x7f" else c for at, c in enumerate(text))


def _visible(text: str, at: int, c: str, kept_tags: set[int]) -> str:
    """What to write for the character `c` at `at`: itself, a space, or nothing."""
    category = unicodedata.category(c)
    if category == "Cf":
        keep = _joins(text, at) if c in JOINERS else at in kept_tags or VISIBLE_FORMATS.match(c)
        return c if keep else ""
    if c in INVISIBLE or category == "Cs":
        return ""
    # Private characters are glyphs of one font; U+FFFC stands for a picture. An unassigned one may be a new emoji.
    return " " if category == "Co" or c == "\ufffc" else c


def _joins(text: str, at: int) -> bool:
    """Whether the joiner at `at` changes how its neighbours look."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if JOINING.match(before):
        return text[at] == "\u200d" or JOINING.match(after) is not None
    return text[at] == "\u200d" and _is_emoji(before) and _is_emoji(after)


def _is_emoji(c: str) -> bool:
    return bool(c) and (c == "\ufe0f" or unicodedata.category(c) in ("So", "Sk", "Cn") or c >= "\U0001f000")
