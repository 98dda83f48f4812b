"""Decodes a summary while it grows, for streaming."""

from precis.text.familiarity import BYTE_PIECE
from precis.text.tokenizer import TextTokenizer


class IncrementalDetokenizer:
    """Returns a growing summary's text as deltas that join to the final text.

    A character outside the vocabulary arrives as several byte tokens; its text is held back until their run has ended.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._text = ""  # returned so far

    def delta(self, ids: list[int]) -> str:
        """The new text that is final, given all tokens of the summary so far."""
        final = len(ids)
        while final and BYTE_PIECE.fullmatch(self._tokenizer.tokenizer.id_to_token(ids[final - 1]) or ""):
            final -= 1
        return self.finish(self._tokenizer.decode(ids[:final], is_complete=False))

    def finish(self, text: str) -> str:
        """The part of the final text `text` that has not been returned yet."""
        delta = text[len(self._text) :]
        if delta:
            self._text = text
        return delta
