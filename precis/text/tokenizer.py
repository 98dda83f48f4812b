"""Converts text to the model's input tokens and its output tokens to text."""

from dataclasses import dataclass, field

from tokenizers import Tokenizer

from precis.bundle.verify import Bundle
from precis.errors import BundleError
from precis.text import is_blank, without_special_tokens
from precis.text.chunking import chunk_spans
from precis.text.familiarity import Familiarity

MARGIN = 8  # tokens; a chunk can encode to a few more tokens than it had within the text


@dataclass(frozen=True)
class TextTokenizer:
    """A bundle's tokenizer with the model's prefix and input limit (in tokens, prefix and end token included).

    Special tokens that stand in a text are read as blanks. `checks_language` is the manifest's.
    """

    tokenizer: Tokenizer
    prefix: str
    limit: int
    checks_language: bool = True
    _familiarity: Familiarity = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_familiarity", Familiarity(self.tokenizer))

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
        return cls(tokenizer, manifest.prefix, manifest.max_input_tokens, manifest.checks_language)

    def encode(self, text: str) -> list[int]:
        """The tokens of prefix, text and end, of any length."""
        return self.tokenizer.encode(self.prefix + without_special_tokens(text)).ids

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """`encode` of each text, in the library's own threads."""
        # "fast" computes no offsets.
        inputs = [self.prefix + without_special_tokens(text) for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(inputs)]

    def encode_summary(self, text: str) -> list[int]:
        """The tokens of a summary without prefix and end."""
        return self.tokenizer.encode(without_special_tokens(text), add_special_tokens=False).ids

    def is_unfamiliar(self, text: str, ids: list[int]) -> bool:
        """Whether `text`, encoded as `ids`, is in a language that the model has not learned; see `familiarity`."""
        return self.checks_language and self._familiarity.is_unfamiliar(text, ids)

    def truncate(self, ids: list[int]) -> list[int]:
        """The first `limit` tokens, the end token included, as transformers truncates."""
        return ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids` without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def chunks(self, text: str) -> list[str]:
        """`text` in chunks that the model can read; see `chunking.chunk_spans`."""
        text = without_special_tokens(text)
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
