"""Converts text to the model's input tokens and its output tokens to text."""

import re
from dataclasses import dataclass

from tokenizers import Tokenizer

from precis.bundle.verify import Bundle
from precis.errors import BundleError
from precis.text import is_blank
from precis.text.chunking import chunk_spans

# What transformers replaces in a decoded text if the tokenizer has clean_up_tokenization_spaces, in its order.
_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
# The end of a text that may still become one of these, one replacement being able to lead to another.
_OPEN_END = re.compile(r"(?: [n'tsmver.?!,]{0,3})+\Z")
MARGIN = 8  # tokens; a chunk can encode to a few more tokens than it had within the text


def clean_up_spaces(text: str) -> str:
    """`text` without the spaces that a tokenizer with clean_up_tokenization_spaces leaves out, as transformers does."""
    for spaced in _SPACED:
        text = text.replace(spaced, spaced.strip())
    return text


@dataclass(frozen=True)
class TextTokenizer:
    """A bundle's tokenizer with the model's prefix and input limit (in tokens, prefix and end token included).

    With `clean_up_spaces` the text of tokens has no spaces before punctuation (`clean_up_spaces`).
    """

    tokenizer: Tokenizer
    prefix: str
    limit: int
    clean_up_spaces: bool = False

    @classmethod
    def load(cls, bundle: Bundle) -> "TextTokenizer":
        """The bundle's tokenizer. Raises BundleError if tokenizer.json cannot be read."""
        try:
            tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise BundleError(f"{bundle.folder / 'tokenizer.json'} cannot be read: {error}") from error
        # A saved tokenizer may carry the truncation and padding that training used last.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        manifest = bundle.manifest
        return cls(tokenizer, manifest.prefix, manifest.max_input_tokens, manifest.clean_up_tokenization_spaces)

    def encode(self, text: str) -> list[int]:
        """The tokens of prefix, text and end, of any length."""
        return self.tokenizer.encode(self.prefix + text).ids

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """`encode` of each text, in the library's own threads."""
        # "fast" computes no offsets.
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast([self.prefix + text for text in texts])]

    def truncate(self, ids: list[int]) -> list[int]:
        """The first `limit` tokens, the end token included, as transformers truncates."""
        return ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]]

    def decode(self, ids: list[int], is_complete: bool = True) -> str:
        """The text of `ids` without special tokens; of an incomplete summary only what no later token changes."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        if not self.clean_up_spaces:
            return text
        return clean_up_spaces(text if is_complete else _OPEN_END.sub("", text))

    def chunks(self, text: str) -> list[str]:
        """`text` in chunks that the model can read; see `chunking.chunk_spans`."""
        token_starts = [start for start, _ in self.tokenizer.encode(text, add_special_tokens=False).offsets]
        max_tokens = max(1, self.limit - len(self.encode("")) - MARGIN)
        chunks = [text[start:end] for start, end in chunk_spans(text, token_starts, max_tokens)]
        return [part for chunk in chunks if not is_blank(chunk) for part in self._halves(chunk.strip())]

    def _halves(self, chunk: str) -> list[str]:
        """`chunk`, halved until it fits: characters outside the vocabulary in a row share one offset."""
        if len(chunk) < 2 or len(self.encode(chunk)) <= self.limit:
            return [chunk]
        middle = len(chunk) // 2
        return self._halves(chunk[:middle]) + self._halves(chunk[middle:])
