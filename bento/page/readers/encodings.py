"""Decodes the bytes of a text file: Unicode by its own signs, anything else by chardet's statistics."""

import codecs
import re
import unicodedata
from itertools import pairwise

from bento.page.readers.errors import DocumentError

BYTE_ORDER_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# What editors and exports wrote before UTF-8. Of rarer ones a short text would look like an example.
LEGACY = (
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "windows-1257", "windows-1258", "iso8859-2", "iso8859-5", "iso8859-7", "koi8-r", "koi8-u", "macroman", "cp850",
    "cp866", "cp874", "shift_jis", "cp932", "euc-jp", "gb18030", "big5", "cp949",
)  # fmt: skip
ISO_2022_JP = re.compile(rb"\x1b\$[@B].*?\x1b\([BJ]", re.DOTALL)
DEFAULT = "windows-1252"
UNSURE = 0.1  # chardet's confidence; below it, another alphabet of Latin letters is no better than the default
SAMPLE_BYTES = 100_000  # for the statistics
MIN_UTF16_LETTERS = 0.9  # the share of letters, digits, spaces and punctuation in a text that is UTF-16 without a mark


def decode(content: bytes) -> tuple[str, str]:
    """The text of `content`, and a sentence on its encoding where it had to be guessed.

    Tries a byte order mark, UTF-8, UTF-16 without a mark, then the encoding that chardet finds the likeliest.
    Raises DocumentError for binary content.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace"), ""
    if b"\0" not in content:
        if ISO_2022_JP.search(content[:SAMPLE_BYTES]) and content.isascii():
            return _with_note(content, "iso-2022-jp")
        try:
            return content.decode("utf-8"), ""
        except UnicodeDecodeError:
            return _with_note(content, _most_likely(content))
    # The zero bytes are the high ones, of ASCII characters.
    encoding = "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
    if _is_utf16(content, encoding):
        return _with_note(content, encoding)
    raise DocumentError("is not a text file.")


def _with_note(content: bytes, encoding: str) -> tuple[str, str]:
    return content.decode(encoding, errors="replace"), f"Its encoding was taken to be {encoding}."


def _most_likely(content: bytes) -> str:
    """The encoding by chardet's ranking, with two corrections for short texts."""
    import chardet

    for encoding in ("utf-16-le", "utf-16-be"):  # of scripts without spaces, which hold no zero byte
        if len(content) % 2 == 0 and _is_utf16(content, encoding) and _is_one_script(content.decode(encoding)):
            return encoding
    sample = content[:SAMPLE_BYTES]
    for guess in chardet.detect_all(sample, ignore_threshold=True, include_encodings=LEGACY):
        likely = guess["encoding"] or DEFAULT
        text = sample.decode(likely, errors="replace")
        if not _mixes_scripts(text):
            return DEFAULT if guess["confidence"] < UNSURE and _is_latin(text) else likely.lower()
    return DEFAULT


def _is_utf16(content: bytes, encoding: str) -> bool:
    """Whether `content` reads as text of one script or two in this encoding."""
    try:
        text = content[: SAMPLE_BYTES & ~1].decode(encoding)
    except UnicodeDecodeError:
        return False
    plain = sum(unicodedata.category(c)[0] in "LNPZM" or c in "\r\n\t" for c in text)
    blocks = {ord(c) >> 8 for c in text if c.isalpha() and not _is_cjk(c)}
    return plain >= MIN_UTF16_LETTERS * len(text) and len(blocks) <= 4


def _is_one_script(text: str) -> bool:
    """Whether all letters are Chinese or Japanese, with one of the commonest, which other bytes rarely give."""
    return all(_is_cjk(c) or not c.isalpha() for c in text) and any(c in "。、的是のはを" for c in text)


def _is_cjk(c: str) -> bool:
    return "\u3040" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3"


def _mixes_scripts(text: str) -> bool:
    """Whether a Latin letter and one of another alphabet stand side by side ("Жrlig"): a sign of a wrong guess."""
    pairs = [(a, b) for a, b in pairwise(text) if a.isalpha() and b.isalpha() and not (_is_cjk(a) or _is_cjk(b))]
    mixed = sum(_is_latin(a) != _is_latin(b) for a, b in pairs)
    return mixed > len(pairs) / 100


def _is_latin(text: str) -> bool:
    """Whether all letters of `text` are Latin."""
    return all(ord(c) < 0x250 or unicodedata.name(c, "").startswith("LATIN") for c in text if c.isalpha())
