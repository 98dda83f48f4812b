"""Finds the numbers of a text and reads them into one form: 1,000 is 1000 is "one thousand", 2m is 2 million."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_SMALL = """
zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
UNITS, TENS, ORDINALS = _SMALL.split(), _TENS.split(), _ORDINALS.split()
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
LETTERS = {"k": 3, "m": 6, "mn": 6, "bn": 9, "tn": 12}
VALUES = {word: number for number, word in enumerate(UNITS)} | {word: 20 + 10 * i for i, word in enumerate(TENS)}
RANKS = {word: number for number, word in enumerate(ORDINALS, 1)}

GAP = "\\u0020\\u00a0\\u2009\\u202f"  # space, no-break space, thin spaces
SCALE = "|".join(SCALES)
SMALL = f"(?:(?:{'|'.join(TENS)})(?:[{GAP}-](?:{'|'.join(UNITS[1:10])}))?|(?:{'|'.join(UNITS)}))"
AFTER_SCALE = f"(?:{'|'.join(f'(?<={word})' for word in SCALES)})"
WORDS = (
    rf"(?:{SMALL}|{SCALE})(?:[{GAP}-](?:{SCALE}))*"
    rf"(?:{AFTER_SCALE}[{GAP}](?:and[{GAP}])?{SMALL}(?:[{GAP}-](?:{SCALE}))*)*"
)
DIGITS = rf"\d{{1,3}}(?:[{GAP}'’]\d{{3}})+(?!\d)|\d+(?:[.,]\d+)*"
FOUND = re.compile(
    rf"(?P<digits>{DIGITS})(?:(?:[{GAP}-]?(?P<scale>{SCALE})|(?P<letter>k|mn|m|bn|tn)"
    rf"|(?P<rank>st|nd|rd|th))\b)?"
    rf"|\b(?P<words>{WORDS})\b|\b(?P<ordinal>{'|'.join(RANKS)})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number in a text. `values` are its readings as plain decimals, of which the first is the likeliest; `vague`
    tells that the word often means no number at all ("one of them", "the second")."""

    start: int
    end: int
    values: tuple[str, ...]
    parts: tuple[str, ...] = ()
    vague: bool = False


def numbers(text: str) -> Iterator[Number]:
    """The numbers of `text` in order: digits in any script, English number words."""
    for match in FOUND.finditer(text):
        start, end = match.span()
        if match["digits"] is not None:
            before = text[start - 1 : start]
            if before.isalpha():  # G7, A380: part of a name
                continue
            shift = SCALES[match["scale"].lower()] if match["scale"] else 0
            read, parts = _digits(match["digits"])
            values = tuple(_plain(whole, fraction, shift) for whole, fraction in read)
            if match["letter"]:  # 2m may be metres
                values = (*(_plain(w, f, LETTERS[match["letter"].lower()]) for w, f in read), *values)
            yield Number(start, end, values, parts)
        elif match["words"] is not None:
            word = match["words"]
            yield Number(start, end, (str(_words(word)),), vague=word.lower() == "one")
        else:
            yield Number(start, end, (str(RANKS[match["ordinal"].lower()]),), vague=True)


def _digits(text: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Readings as (whole, fraction), and the numbers beside each other that a gap may have meant."""
    text = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)
    groups = re.split(rf"[{GAP}'’]", text)
    if len(groups) > 1:
        return [("".join(groups), "")], tuple(_plain(group, "", 0) for group in groups)
    groups = re.split(r"[.,]", text)
    signs = {sign for sign in text if sign in ".,"}
    thousands = all(len(group) == 3 for group in groups[1:])
    if len(groups) == 1:
        return [(text, "")], ()
    if len(signs) == 2:  # 1,234.5 or 1.234,5: the last sign is the decimal one
        return [("".join(groups[:-1]), groups[-1])], ()
    if len(groups) > 2:
        if thousands:
            return [("".join(groups), "")], ()
        return [(group, "") for group in groups], ()  # 1.2.3, a list or a date
    if "," in signs:
        return [("".join(groups), "") if thousands else (groups[0], groups[1])], ()
    read = [(groups[0], groups[1])]
    return ([*read, ("".join(groups), "")] if thousands else read), ()


def _plain(whole: str, fraction: str, shift: int) -> str:
    """One spelling for each value; strings, since a text may hold a number of any length."""
    fraction = fraction.ljust(shift, "0")
    whole, fraction = (whole + fraction[:shift]).lstrip("0") or "0", fraction[shift:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _words(text: str) -> int:
    """The value of "two hundred and fifty thousand"."""
    total = current = 0
    for word in re.split(r"[\s-]+", text.lower()):
        if word in VALUES:
            current += VALUES[word]
        elif word == "hundred":
            current = max(1, current) * 100
        elif word in SCALES:
            total, current = total + max(1, current) * 10 ** SCALES[word], 0
    return total + current
