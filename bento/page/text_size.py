"""How large a text is for the engine: its tokens, of which rare characters have far more than others."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokenizers import Tokenizer

from bento.page import limits
from precis import Engine, TextError

# The tokenizer holds the interpreter's lock while it encodes, and one character can become 18 tokens: so in slices, and
# one text at a time.
SLICE_CHARACTERS = 1000
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="page-tokens")


async def count_tokens(engine: Engine, text: str) -> int:
    """About how many tokens `text` has. Raises TextError for more characters or tokens than the page takes."""
    if len(text) > limits.MAX_TEXT_CHARACTERS:
        raise TextError(
            f"The text has {len(text):,} characters, and this page takes {limits.MAX_TEXT_CHARACTERS:,}. "
            "Paste a part of it, or send it to the API."
        )
    return await asyncio.get_running_loop().run_in_executor(_thread, _count, engine.bundle.folder, text)


def _count(bundle: Path, text: str) -> int:
    tokens, tokenizer = 0, _tokenizer(bundle)
    for start in range(0, len(text), SLICE_CHARACTERS):
        tokens += len(tokenizer.encode(text[start : start + SLICE_CHARACTERS], add_special_tokens=False))
        if tokens > limits.MAX_TEXT_TOKENS:
            raise TextError(
                f"The text has more than {limits.MAX_TEXT_TOKENS:,} tokens, since its characters are rare ones; this "
                "page takes no more. Paste a part of it, or send it to the API."
            )
    return tokens


@functools.lru_cache(maxsize=2)  # the model's and the base's
def _tokenizer(bundle: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    tokenizer.no_truncation()  # a saved tokenizer may carry the one that training used
    return tokenizer
