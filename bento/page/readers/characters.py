"""Cleans extracted text: signs that nobody sees are dropped, blanks and line breaks are made uniform."""

import re
import unicodedata

LINE_BREAKS = re.compile(r"\r\n|[\r\n\x0b\x85\u2028]")
PARAGRAPH_BREAKS = re.compile(r"[\x0c\u2029]")
# Scripts in which a joiner decides how the letters beside it are written: Arabic to Myanmar, and so on.
JOINING = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1a20-\u1cdf\ua840-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
JOINER = re.compile("[\u200c\u200d]")
# After a black flag, tags spell the flag of England or Wales; elsewhere they say nothing.
TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007f]+)|[\U000e0020-\U000e007f]+")
LIGATURES = range(0xFB00, 0xFB07)
VISIBLE_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd"
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # count as letters or marks
PICTURE = "\ufffc"


def normalize(text: str) -> str:
    """`text` as it is seen: runs of blanks are one space, paragraphs are separated by one empty line at most.

    Format characters (soft hyphen, word joiner, zero-width space, direction marks) vanish without a blank. Joiners stay
    between letters of scripts that are written with them and within emoji.
    """
    text = PARAGRAPH_BREAKS.sub("\n\n", LINE_BREAKS.sub("\n", text))
    text = TAGS.sub(r"\1", JOINER.sub(_joiner, text)).translate(_VISIBLE)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    collapsed = [line for line, previous in zip(lines, ["", *lines], strict=False) if line or previous]
    return "\n".join(collapsed).strip()


class _Visible(dict[int, str]):
    """What to write for each character, for str.translate; decided when a character is first seen."""

    def __missing__(self, code: int) -> str:
        self[code] = visible = _visible(chr(code))
        return visible


_VISIBLE = _Visible()


def _visible(c: str) -> str:
    """The character itself, a space, or nothing."""
    category = unicodedata.category(c)
    if ord(c) in LIGATURES:
        return unicodedata.normalize("NFKC", c)
    if category == "Cf":  # joiners and tags that are still there were looked at before
        return c if c in VISIBLE_FORMATS or JOINER.match(c) or "\U000e0020" <= c <= "\U000e007f" else ""
    if c in FILLERS or category == "Cs":
        return ""
    # Private characters are glyphs of one font. An unassigned one may be a new emoji.
    return " " if (category in ("Cc", "Co") and c != "\n") or c == PICTURE else c


def _joiner(match: re.Match[str]) -> str:
    """The joiner if it changes how its neighbours look, else nothing."""
    joiner, text = match[0], match.string
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if JOINING.match(before):
        return joiner if joiner == "\u200d" or JOINING.match(after) else ""
    return joiner if joiner == "\u200d" and _is_emoji(before) and _is_emoji(after) else ""


def _is_emoji(c: str) -> bool:
    return bool(c) and (c == "\ufe0f" or unicodedata.category(c) in ("So", "Sk", "Cn") or c >= "\U0001f000")
