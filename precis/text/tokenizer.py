"""Converts text to the model's input tokens and its output tokens to text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tokenizers import Tokenizer

from precis.bundle.names import MANIFEST
from precis.bundle.verify import Bundle
from precis.errors import BundleError, TextError
from precis.params import MAX_NEW_TOKENS
from precis.text import is_blank, without_special_tokens
from precis.text.chunking import chunk_spans
from precis.text.familiarity import Familiarity
from precis.text.sentences import stripped_span
from precis.text.slices import SLICE_CHARACTERS, slice_spans

MAX_TEXT_TOKENS = 1 << 21  # of one text; a character can be dozens of tokens
SENTENCES_AT_ONCE = 64  # encoded in one call
SAMPLES, SAMPLE_CHARACTERS = 64, 128  # of a text whose tokens are estimated
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

    Special tokens that stand in a text are read as blanks. `checks_language` is the manifest's. With `clean_up_spaces`
    the text of tokens has no spaces before punctuation (`clean_up_spaces`).
    """

    tokenizer: Tokenizer
    prefix: str
    limit: int
    checks_language: bool = True
    clean_up_spaces: bool = False
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
        loaded = cls(
            tokenizer,
            manifest.prefix,
            manifest.max_input_tokens,
            manifest.checks_language,
            manifest.clean_up_tokenization_spaces,
        )
        prefix_tokens = len(loaded.encode("")) + MARGIN
        if loaded.limit <= prefix_tokens:
            raise BundleError(
                f"{bundle.folder / MANIFEST}: max_input_tokens is {loaded.limit}, and the prefix takes "
                f"{prefix_tokens} of them."
            )
        return loaded

    def encode(self, text: str, check: Callable[[], None] = lambda: None) -> list[int]:
        """The tokens of prefix, text and end, at most MAX_TEXT_TOKENS.

        A long text is encoded in slices, which leave the interpreter to other threads; `check` is called between them,
        and what it raises ends the work. Raises TextError if the text has too many tokens.
        """
        text = self.prefix + without_special_tokens(text)
        if len(text) <= SLICE_CHARACTERS:
            return self.tokenizer.encode(text).ids
        ids: list[int] = []
        for start, end in slice_spans(text):
            check()
            # A batch, since the library holds the interpreter while it encodes a single text.
            ids += self.tokenizer.encode_batch_fast([text[start:end]], add_special_tokens=False)[0].ids
            _check_length(len(ids))
        return ids + self._end

    def estimate_tokens(self, text: str) -> int:
        """About how many tokens `text` has, from SAMPLES pieces of it; in some milliseconds, however long it is."""
        step = max(1, len(text) // SAMPLES)
        pieces = [text[start : start + SAMPLE_CHARACTERS] for start in range(0, len(text), step)]
        tokens = sum(map(len, self.tokenizer.encode_batch_fast(pieces, add_special_tokens=False)))
        return tokens * len(text) // max(1, sum(map(len, pieces)))

    def token_offsets(self, text: str, check: Callable[[], None] = lambda: None) -> list[tuple[int, int]]:
        """The characters (start, end) of `text` that each token of `encode` stands for, without those of the end.

        Tokens of the prefix have negative ones. `check` is as for `encode`.
        """
        shift = len(self.prefix)
        offsets: list[tuple[int, int]] = []
        inputs = self.prefix + without_special_tokens(text)
        for first, encoded in self._encode_slices(inputs, check):
            offsets += ((first + start - shift, first + end - shift) for start, end in encoded)
        return offsets

    @cached_property
    def _end(self) -> list[int]:
        """The special tokens after a text."""
        without = self.tokenizer.encode("a", add_special_tokens=False).ids
        return self.tokenizer.encode("a").ids[len(without) :]

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

    def decode(self, ids: list[int], is_complete: bool = True) -> str:
        """The text of `ids` without special tokens; of an incomplete summary only what no later token changes."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        if not self.clean_up_spaces:
            return text
        return clean_up_spaces(text if is_complete else _OPEN_END.sub("", text))

    def encode_sentences(self, sentences: list[str], check: Callable[[], None] = lambda: None) -> list[list[int]]:
        """The tokens of each sentence and its end, without the prefix; of a very long one the first MAX_NEW_TOKENS.

        `check` is as for `encode`.
        """
        ids: list[list[int]] = []
        for first in range(0, len(sentences), SENTENCES_AT_ONCE):
            check()
            batch = [without_special_tokens(text)[:SLICE_CHARACTERS] for text in sentences[first:][:SENTENCES_AT_ONCE]]
            ids += [_truncate(encoding.ids, MAX_NEW_TOKENS) for encoding in self.tokenizer.encode_batch_fast(batch)]
        return ids

    def read_end(self, text: str, check: Callable[[], None] = lambda: None) -> int:
        """How many characters of `text` the model reads if it is truncated. `check` is as for `encode`."""
        starts: list[int] = []
        for first in self._token_starts(self.prefix + without_special_tokens(text), check):
            starts.append(first)
            if len(starts) == self.limit:
                return max(0, first - len(self.prefix))
        return len(text)

    def chunks(self, text: str, check: Callable[[], None] = lambda: None) -> list[str]:
        """`text` in chunks that the model can read; see `chunking.chunk_spans`. `check` is as for `encode`."""
        text = without_special_tokens(text)
        return [text[start:end] for start, end in self.chunk_spans(text, check)]

    def chunk_spans(self, text: str, check: Callable[[], None] = lambda: None) -> list[tuple[int, int]]:
        """(start, end) of each of `chunks`."""
        text = without_special_tokens(text)
        max_tokens = max(1, self.limit - len(self.encode("")) - MARGIN)
        spans = chunk_spans(text, list(self._token_starts(text, check)), max_tokens)
        visible = [stripped_span(text, start, end) for start, end in spans if not is_blank(text[start:end])]
        return [part for start, end in visible for part in self._halves(text, start, end, check)]

    def _token_starts(self, text: str, check: Callable[[], None]) -> Iterator[int]:
        """The character at which each token of `text` begins."""
        for first, offsets in self._encode_slices(text, check):
            yield from (first + start for start, _ in offsets)

    def _encode_slices(self, text: str, check: Callable[[], None]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """The beginning of each slice of `text`, and the offsets in it of the slice's tokens."""
        tokens = 0
        for start, end in slice_spans(text):
            check()
            encoding = self.tokenizer.encode_batch([text[start:end]], add_special_tokens=False)[0]
            tokens += len(encoding)
            _check_length(tokens)
            yield start, encoding.offsets

    def _halves(self, text: str, start: int, end: int, check: Callable[[], None]) -> list[tuple[int, int]]:
        """text[start:end], halved until it fits: characters outside the vocabulary in a row share one offset."""
        check()
        if end - start < 2 or len(self.encode(text[start:end], check)) <= self.limit:
            return [(start, end)]
        middle = start + (end - start) // 2
        return self._halves(text, start, middle, check) + self._halves(text, middle, end, check)


def _check_length(tokens: int) -> None:
    if tokens > MAX_TEXT_TOKENS:
        raise TextError(f"The text has more than {MAX_TEXT_TOKENS:,} tokens, the most that a text may have.")


def _truncate(ids: list[int], limit: int) -> list[int]:
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
