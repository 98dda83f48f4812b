"""Text to tokens and back: the model's prefix, cutting long texts into pieces, and pieces of text while it grows."""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from tokenizers import Tokenizer

from precis.bundle.verify import Bundle
from precis.errors import BundleError

SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|\n+")
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
OVERLAP = 8  # a repeated sentence takes at most this part of what the model reads
SLACK = 8  # tokens; a piece cut out of a text can encode to a few more than it had inside it


@dataclass(frozen=True)
class TextTokenizer:
    """A bundle's tokenizer with the model's prefix and input limit (in tokens, prefix and end token included)."""

    tokenizer: Tokenizer
    prefix: str
    limit: int

    @classmethod
    def load(cls, bundle: Bundle) -> "TextTokenizer":
        """Raises BundleError where tokenizer.json cannot be read."""
        try:
            tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise BundleError(f"{bundle.folder / 'tokenizer.json'} cannot be read: {error}") from error
        # A saved tokenizer may carry the last truncation and padding that training used.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, bundle.manifest.prefix, bundle.manifest.max_input_tokens)

    def encode(self, text: str) -> list[int]:
        """Prefix, text and end token, however long."""
        return self.tokenizer.encode(self.prefix + text).ids

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The same of each of `texts`, which the library shares out among threads of its own."""
        # "fast" leaves out where in the text each token stands.
        return [found.ids for found in self.tokenizer.encode_batch_fast([self.prefix + text for text in texts])]

    def cut(self, ids: list[int]) -> list[int]:
        """The first `limit` tokens with the end token among them, as transformers truncates."""
        return ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def chunks(self, text: str) -> list[str]:
        """Cuts `text` into pieces of about equal length that the model can read, at sentence ends if it can.

        A piece begins with the last sentence of the one before it, if that is short: what it refers to stays in sight.
        """
        firsts = [start for start, _ in self.tokenizer.encode(text, add_special_tokens=False).offsets]
        room = max(1, self.limit - len(self.encode("")) - SLACK)
        ends = [match.end() for match in SENTENCE_END.finditer(text)]
        spaces = [match.end() for match in re.finditer(r"\s+", text)]
        pieces, start, first = [], 0, 0  # a character of the text, and the token that begins there
        while (left := len(firsts) - first) > room:
            even = -(-left // -(-left // room))
            target, farthest = firsts[first + even], firsts[first + room]
            stop = _nearest(ends, start, target, farthest) or _nearest(spaces, start, target, farthest)
            # A single word longer than the model reads is cut where it must be.
            stop = stop or max(farthest, start + 1)
            pieces.append(text[start:stop])
            before = bisect_left(ends, stop)
            sentence = ends[before - 1] if before else 0  # where the last one of the piece begins
            after = bisect_left(firsts, stop)
            repeated = sentence > start and after - bisect_left(firsts, sentence) <= room // OVERLAP
            start = sentence if repeated else stop
            first = bisect_left(firsts, start)
        pieces.append(text[start:])
        return [part for piece in pieces if piece.strip() for part in self._halved(piece.strip())]

    def _halved(self, piece: str) -> list[str]:
        """A run of characters outside the vocabulary has one offset for all its tokens; such a piece is cut blindly."""
        if len(piece) < 2 or len(self.encode(piece)) <= self.limit:
            return [piece]
        middle = len(piece) // 2
        return self._halved(piece[:middle]) + self._halved(piece[middle:])


def _nearest(places: list[int], start: int, target: int, farthest: int) -> int | None:
    """The one of the sorted `places` in (start, farthest] nearest to `target`, if any lies past half way there."""
    low = bisect_right(places, start + (target - start) // 2)
    at = bisect_left(places, target)
    near = [places[i] for i in (at - 1, at) if low <= i < len(places) and places[i] <= farthest]
    return min(near, key=lambda place: abs(place - target), default=None)


class IncrementalDetokenizer:
    """Hands out a growing summary's text in pieces that join to the final text.

    Bytes of one character arrive as several tokens; text is held back until the run of bytes is over.
    """

    def __init__(self, codec: TextTokenizer) -> None:
        self.codec = codec
        self.given = ""

    def grow(self, ids: list[int]) -> str:
        """The text that is certain now and was not handed out before."""
        certain = len(ids)
        while certain and BYTE.fullmatch(self.codec.tokenizer.id_to_token(ids[certain - 1]) or ""):
            certain -= 1
        return self._more(self.codec.decode(ids[:certain]))

    def finish(self, text: str) -> str:
        """What is left of the final text."""
        return self._more(text)

    def _more(self, text: str) -> str:
        more = text[len(self.given) :]
        self.given = text if len(text) > len(self.given) else self.given
        return more
