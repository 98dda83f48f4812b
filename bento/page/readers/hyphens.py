"""Joins two lines of one paragraph: with a blank, without one in Chinese and Japanese, and with hyphenation undone."""

import re
import unicodedata

WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
BROKEN_END = re.compile(r"([^\W\d_]+)[-\u2010\u00ad]$")
LINE_END = re.compile(r"[^\W\d_]+[-\u2010\u00ad]\s*$", re.MULTILINE)  # perhaps a part of a word only
WORD_START = re.compile(r"[^\W\d_]+")
JOINED_AFTER = ("-", "\u2010", "\u2013", "\u2014", "/")  # between two letters or digits: no blank follows
LONGEST_WORD = 100  # characters
MIN_PART = 3  # letters; shorter parts of a broken word are words by chance ("in-side")


class Joiner:
    """Joins the lines of one document, whose own words tell a broken word from one that is written with a hyphen."""

    def __init__(self, text: str, breaks_words: bool) -> None:
        """`breaks_words`: the lines were typeset, so that a hyphen at the end of one is likely a broken word."""
        self._words = {word.lower() for word in WORD.findall(LINE_END.sub("", text))}
        self._breaks_words = breaks_words

    def join(self, lines: list[str]) -> str:
        """The lines of a paragraph as one line."""
        parts = lines[:1]
        for after in lines[1:]:
            is_cut, separator = self._joint(parts[-1], after)
            if is_cut:
                parts[-1] = parts[-1][:-1]
            parts += [separator, after]
        return "".join(parts)

    def _joint(self, before: str, after: str) -> tuple[bool, str]:
        """Whether the last character of `before` goes (a hyphen), and what comes between the two lines."""
        if before.endswith("\u00ad"):
            return True, ""
        broken, start = BROKEN_END.search(before[-LONGEST_WORD:]), WORD_START.match(after)
        if broken and start and start[0][0].islower():
            return self._is_broken(broken[1], start[0]), ""
        if before[-1:] in JOINED_AFTER and before[-2:-1].isalnum() and after[:1].isalnum():
            return False, ""
        return False, "" if _is_wide(before[-1:]) and _is_wide(after[:1]) else " "

    def _is_broken(self, first: str, second: str) -> bool:
        """Whether "first-second" is one word that was broken at the end of a line."""
        first, second = first.lower(), second.lower()
        if first + second in self._words or f"{first}-{second}" in self._words:
            return first + second in self._words
        are_words = min(len(first), len(second)) >= MIN_PART and {first, second} <= self._words
        return self._breaks_words and not are_words


def _is_wide(c: str) -> bool:
    """Whether `c` is a Chinese or Japanese character or mark; no blanks stand between them (in Korean they do)."""
    return bool(c) and unicodedata.east_asian_width(c) in "WF" and not "\uac00" <= c <= "\ud7a3" and ord(c) < 0x1F000
