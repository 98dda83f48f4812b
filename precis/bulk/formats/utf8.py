"""The text of a file as UTF-8 bytes, whichever Unicode encoding it is stored in."""

import codecs
import io
from typing import IO, Any

CHUNK = 1 << 18  # bytes read at once
# The longer marks first: UTF-32's begins like UTF-16's.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Which of the first four bytes are zero in a file without a mark that begins with two ASCII characters.
ZERO_BYTES: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}


def detect_encoding(head: bytes) -> tuple[str, int]:
    """The Unicode encoding of a file that begins with `head`, and the length of its byte order mark."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    zero = tuple(byte == 0 for byte in head[:4])
    return ZERO_BYTES.get(zero, "utf-8"), 0


class Utf8Stream(io.RawIOBase):
    """Reads `stream` as UTF-8 without a byte order mark; `bom` says whether there was one.

    Bytes that are wrong in their encoding come out as bytes that are wrong in UTF-8, so that they are noticed in the
    row that has them.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        head = stream.read(CHUNK)
        encoding, length = detect_encoding(head)
        self.bom = length > 0
        self._decoder: Any = None
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._data = memoryview(self._utf8(head[length:]))
        self._ended = False

    def _utf8(self, data: bytes) -> bytes:
        return self._decoder.decode(data).encode("utf-8", "surrogatepass") if self._decoder else data

    def readable(self) -> bool:
        """True: this is what io asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` as io.RawIOBase does; 0 at the end."""
        while not self._data and not self._ended:
            chunk = self._stream.read(CHUNK)
            self._ended = not chunk
            cut_short = self._ended and self._decoder and self._decoder.getstate()[0]
            self._data = memoryview(b"\xff" if cut_short else self._utf8(chunk))
        size = min(len(buffer), len(self._data))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        return size
