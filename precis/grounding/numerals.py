"""Finds numbers in a text and gives their values: 1,000, 1000 and "one thousand" are equal, as are 2m and 2 million."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from precis.text.windows import finditer

_SMALL = """
zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
UNITS, TENS = _SMALL.split(), _TENS.split()
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}  # powers of ten
SCALE_LETTERS = {"k": 3, "m": 6, "mn": 6, "bn": 9, "tn": 12}
CARDINALS = {word: number for number, word in enumerate(UNITS)} | {word: 20 + 10 * i for i, word in enumerate(TENS)}
ORDINALS = {word: number for number, word in enumerate(_ORDINALS.split(), 1)}

GAP = "\\u0020\\u00a0\\u2009\\u202f"  # space, no-break space, thin spaces
SCALE = "|".join(SCALES)
SMALL = f"(?:(?:{'|'.join(TENS)})(?:[{GAP}-](?:{'|'.join(UNITS[1:10])}))?|(?:{'|'.join(UNITS)}))"
AFTER_SCALE = f"(?:{'|'.join(f'(?<={word})' for word in SCALES)})"
# Repetitions are bounded: what is longer is no number, and its value would take long to compute and to print.
SCALED = rf"(?:[{GAP}-](?:{SCALE})){{0,3}}"  # a hundred thousand million
WORDS = rf"(?:{SMALL}|{SCALE}){SCALED}(?:{AFTER_SCALE}[{GAP}](?:and[{GAP}])?{SMALL}{SCALED}){{0,8}}"
DIGITS = rf"\d{{1,3}}(?:[{GAP}'’]\d{{3}}){{1,16}}(?!\d)|\d{{1,64}}(?:[.,]\d{{1,64}}){{0,16}}"
FIRST = "".join(sorted({word[0] for word in (*CARDINALS, *SCALES, *ORDINALS)}))  # most characters begin no number
NUMBER = re.compile(
    rf"(?=[\d{FIRST}])(?:"
    rf"(?P<digits>{DIGITS})(?:(?:[{GAP}-]?(?P<scale>{SCALE})|(?P<letter>k|mn|m|bn|tn)"
    rf"|(?P<suffix>st|nd|rd|th))\b)?"
    rf"|\b(?:(?P<words>{WORDS})|(?P<ordinal>{'|'.join(ORDINALS)}))\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number at text[start:end]. `values` are its possible readings as plain decimals, the likeliest first; `parts`
    the numbers that "12 000" may be instead of one; `vague` marks a word that is often no number ("one of them")."""

    start: int
    end: int
    values: tuple[str, ...]
    parts: tuple[str, ...] = ()
    vague: bool = False


def numbers(text: str) -> Iterator[Number]:
    """The numbers of `text` in order: digits in any script, English number words."""
    for match in finditer(NUMBER, text):
        start, end = match.span()
        if match["digits"] is not None:
            if text[start - 1 : start].isalpha():  # G7, A380: part of a name
                continue
            shift = SCALES[match["scale"].lower()] if match["scale"] else 0
            readings, parts = _parse_digits(match["digits"])
            values = tuple(_decimal(integer, fraction, shift) for integer, fraction in readings)
            if match["letter"]:  # 2m may be metres
                letter = SCALE_LETTERS[match["letter"].lower()]
                values = (*(_decimal(integer, fraction, letter) for integer, fraction in readings), *values)
            yield Number(start, end, values, parts)
        elif match["words"] is not None:
            word = match["words"]
            yield Number(start, end, (str(_parse_words(word)),), vague=word.lower() == "one")
        else:
            yield Number(start, end, (str(ORDINALS[match["ordinal"].lower()]),), vague=True)


def _parse_digits(text: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The possible readings as (integer part, fraction), and the separate numbers that a gap may divide."""
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    groups = re.split(rf"[{GAP}'’]", text)
    if len(groups) > 1:
        return [("".join(groups), "")], tuple(_decimal(group, "", 0) for group in groups)
    groups = re.split(r"[.,]", text)
    separators = {char for char in text if char in ".,"}
    are_thousands = all(len(group) == 3 for group in groups[1:])
    if len(groups) == 1:
        return [(text, "")], ()
    if len(separators) == 2:  # 1,234.5 or 1.234,5: the last separator is the decimal one
        return [("".join(groups[:-1]), groups[-1])], ()
    if len(groups) > 2:
        if are_thousands:
            return [("".join(groups), "")], ()
        return [(group, "") for group in groups], ()  # 1.2.3, a list or a date
    if "," in separators:
        return [("".join(groups), "") if are_thousands else (groups[0], groups[1])], ()
    readings = [(groups[0], groups[1])]
    return ([*readings, ("".join(groups), "")] if are_thousands else readings), ()


def _decimal(integer: str, fraction: str, shift: int) -> str:
    """The value times 10**shift in its one spelling; a string, since a text may hold a number of any length."""
    fraction = fraction.ljust(shift, "0")
    integer, fraction = (integer + fraction[:shift]).lstrip("0") or "0", fraction[shift:].rstrip("0")
    return f"{integer}.{fraction}" if fraction else integer


def _parse_words(text: str) -> int:
    """The value of "two hundred and fifty thousand"."""
    total = current = 0
    for word in re.split(r"[\s-]+", text.lower()):
        if word in CARDINALS:
            current += CARDINALS[word]
        elif word == "hundred":
            current = max(1, current) * 100
        elif word in SCALES:
            total, current = total + max(1, current) * 10 ** SCALES[word], 0
    return total + current
