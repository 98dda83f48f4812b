"""Converts text to the model's input tokens and its output tokens to text."""

from dataclasses import dataclass, field

from tokenizers import Tokenizer

from precis.bundle.verify import Bundle
from precis.errors import BundleError
from precis.params import MAX_NEW_TOKENS
from precis.text import is_blank, without_special_tokens
from precis.text.chunking import chunk_spans
from precis.text.familiarity import Familiarity
from precis.text.sentences import stripped_span

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
        return _truncate(ids, self.limit)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids` without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def encode_sentences(self, sentences: list[str]) -> list[list[int]]:
        """The tokens of each sentence and its end, without the prefix; of a very long one the first MAX_NEW_TOKENS."""
        encodings = self.tokenizer.encode_batch_fast([without_special_tokens(sentence) for sentence in sentences])
        return [_truncate(encoding.ids, MAX_NEW_TOKENS) for encoding in encodings]

    def read_end(self, text: str) -> int:
        """How many characters of `text` the model reads if it is truncated."""
        offsets = self.tokenizer.encode(self.prefix + without_special_tokens(text)).offsets
        if len(offsets) <= self.limit:
            return len(text)
        first_unread, _ = offsets[self.limit - 1]
        return max(0, first_unread - len(self.prefix))

    def chunks(self, text: str) -> list[str]:
        """`text` in chunks that the model can read; see `chunking.chunk_spans`."""
        text = without_special_tokens(text)
        return [text[start:end] for start, end in self.chunk_spans(text)]

    def chunk_spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each of `chunks`."""
        text = without_special_tokens(text)
        token_starts = [start for start, _ in self.tokenizer.encode(text, add_special_tokens=False).offsets]
        max_tokens = max(1, self.limit - len(self.encode("")) - MARGIN)
        spans = [stripped_span(text, start, end) for start, end in chunk_spans(text, token_starts, max_tokens)]
        return [
            part for start, end in spans if not is_blank(text[start:end]) for part in self._halves(text, start, end)
        ]

    def _halves(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """text[start:end], halved until it fits: characters outside the vocabulary in a row share one offset."""
        if end - start < 2 or len(self.encode(text[start:end])) <= self.limit:
            return [(start, end)]
        middle = start + (end - start) // 2
        return self._halves(text, start, middle) + self._halves(text, middle, end)


def _truncate(ids: list[int], limit: int) -> list[int]:
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
