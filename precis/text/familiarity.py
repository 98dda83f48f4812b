"""Tells whether a text is in a script or language that the model has not learned, by how its tokenizer divides it.

A tokenizer's vocabulary is made from the texts that the model learned from. Letters of another script are unknown or
become bytes, and words of another language in the same script fall into pieces of one or two letters. Measured with
the embedded vocabulary, letters a piece: English news 2.8 to 4.5, English chats and letters 2.4 to 3.6; French, Dutch,
German, Spanish, Italian, Norwegian, Polish, Finnish, Turkish and Swahili 1.7 to 2.2.
"""

import re
from collections import Counter

from tokenizers import Tokenizer

MOST_UNREADABLE = 0.3  # fraction of the letters
FEWEST_LETTERS_A_PIECE = 2.25
FEWEST_PIECES = 40  # of cased letters, for their mean to say anything
READ_CHARACTERS = 5_000
READ_TOKENS = 1_000
MOST_FLAGGED = 0.05  # fraction of the texts that a model is known to read
DISTINCT_LETTERS = 300  # the most frequent ones

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")  # SentencePiece's byte fallback


class Familiarity:
    """Knows a tokenizer's vocabulary. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._readable: dict[str, bool] = {}  # letters that were asked for

    def is_unfamiliar(self, text: str, ids: list[int]) -> bool:
        """Whether `text`, whose tokens are `ids`, is in a script or language that the vocabulary was not made from."""
        letters = Counter(filter(str.isalpha, text[:READ_CHARACTERS]))
        total = letters.total()
        unreadable = sum(n for letter, n in letters.most_common(DISTINCT_LETTERS) if not self._is_readable(letter))
        return unreadable > MOST_UNREADABLE * total or self._falls_into_small_pieces(ids[:READ_TOKENS])

    def knows(self, texts: list[str], ids: list[list[int]]) -> bool:
        """Whether nearly all `texts`, which a model is known to read, pass; else the check does not suit it."""
        flagged = sum(self.is_unfamiliar(text, tokens) for text, tokens in zip(texts, ids, strict=True))
        return flagged <= MOST_FLAGGED * len(texts)

    def _is_readable(self, letter: str) -> bool:
        if letter not in self._readable:
            encoding = self._tokenizer.encode(letter, add_special_tokens=False)
            self._readable[letter] = not any(BYTE_PIECE.fullmatch(t) or t == "<unk>" for t in encoding.tokens)
        return self._readable[letter]

    def _falls_into_small_pieces(self, ids: list[int]) -> bool:
        pieces = ((self._tokenizer.id_to_token(token) or "").replace("▁", "") for token in ids)
        # Scripts without capitals have short words, or a character for a word.
        lengths = [len(piece) for piece in pieces if piece.isalpha() and piece.lower() != piece.upper()]
        return len(lengths) >= FEWEST_PIECES and sum(lengths) < FEWEST_LETTERS_A_PIECE * len(lengths)
