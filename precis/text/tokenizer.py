"""Converts text to the model's input tokens and its output tokens to text."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer

from precis.bundle.names import MANIFEST
from precis.bundle.verify import Bundle
from precis.errors import BundleError, TextError
from precis.text import is_blank
from precis.text.chunking import chunk_spans
from precis.text.slices import SLICE_CHARACTERS, slice_spans

MAX_TEXT_TOKENS = 1 << 21  # of one text; a character can be dozens of tokens
MARGIN = 8  # tokens; a chunk can encode to a few more tokens than it had within the text


@dataclass(frozen=True)
class TextTokenizer:
    """A bundle's tokenizer with the model's prefix and input limit (in tokens, prefix and end token included)."""

    tokenizer: Tokenizer
    prefix: str
    limit: int

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
        loaded = cls(tokenizer, bundle.manifest.prefix, bundle.manifest.max_input_tokens)
        taken = len(loaded.encode("")) + MARGIN
        if loaded.limit <= taken:
            raise BundleError(
                f"{bundle.folder / MANIFEST}: max_input_tokens is {loaded.limit}, and the prefix takes {taken} of them."
            )
        return loaded

    def encode(self, text: str, check: Callable[[], None] = lambda: None) -> list[int]:
        """The tokens of prefix, text and end, at most MAX_TEXT_TOKENS.

        A long text is encoded in slices, which leave the interpreter to other threads; `check` is called between them,
        and what it raises ends the work. Raises TextError if the text has too many tokens.
        """
        text = self.prefix + text
        if len(text) <= SLICE_CHARACTERS:
            return self.tokenizer.encode(text).ids
        ids: list[int] = []
        for start, end in slice_spans(text):
            check()
            # A batch, since the library holds the interpreter while it encodes a single text.
            ids += self.tokenizer.encode_batch_fast([text[start:end]], add_special_tokens=False)[0].ids
            _check_length(len(ids))
        return ids + self._end

    @cached_property
    def _end(self) -> list[int]:
        """The special tokens after a text."""
        without = self.tokenizer.encode("a", add_special_tokens=False).ids
        return self.tokenizer.encode("a").ids[len(without) :]

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """`encode` of each text, in the library's own threads."""
        # "fast" computes no offsets.
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast([self.prefix + text for text in texts])]

    def truncate(self, ids: list[int]) -> list[int]:
        """The first `limit` tokens, the end token included, as transformers truncates."""
        return ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids` without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def chunks(self, text: str, check: Callable[[], None] = lambda: None) -> list[str]:
        """`text` in chunks that the model can read; see `chunking.chunk_spans`. `check` is as for `encode`."""
        token_starts: list[int] = []
        for start, end in slice_spans(text):
            check()
            encoding = self.tokenizer.encode_batch([text[start:end]], add_special_tokens=False)[0]
            token_starts += [start + first for first, _ in encoding.offsets]
            _check_length(len(token_starts))
        max_tokens = max(1, self.limit - len(self.encode("")) - MARGIN)
        chunks = [text[start:end] for start, end in chunk_spans(text, token_starts, max_tokens)]
        return [part for chunk in chunks if not is_blank(chunk) for part in self._halves(chunk.strip(), check)]

    def _halves(self, chunk: str, check: Callable[[], None]) -> list[str]:
        """`chunk`, halved until it fits: characters outside the vocabulary in a row share one offset."""
        check()
        if len(chunk) < 2 or len(self.encode(chunk, check)) <= self.limit:
            return [chunk]
        middle = len(chunk) // 2
        return self._halves(chunk[:middle], check) + self._halves(chunk[middle:], check)


def _check_length(tokens: int) -> None:
    if tokens > MAX_TEXT_TOKENS:
        raise TextError(f"The text has more than {MAX_TEXT_TOKENS:,} tokens, the most that a text may have.")
