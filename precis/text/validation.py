"""Tells whether a text can be summarized at all."""

from collections.abc import Iterable

from precis.errors import TextError
from precis.text import is_blank


def check_text(text: object, name: str = "The text") -> None:
    """Raises TextError, in a sentence that begins with `name`, if `text` is none that a model can read."""
    if text is not None and not isinstance(text, str):
        raise TextError(f"{name} is not a string.")
    if text is None or is_blank(text):
        raise TextError(f"{name} is empty.")
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can escape half of a surrogate pair
        raise TextError(f"{name} has a surrogate by itself, which is no character.") from None


def checked_texts(texts: Iterable[str]) -> list[str]:
    """`texts` as a list. Raises TextError if one cannot be read, and TypeError for a string in place of a list."""
    if isinstance(texts, str):
        raise TypeError("texts should be a list of strings, not one string.")
    texts = list(texts)
    for index, text in enumerate(texts):
        check_text(text, f"texts[{index}]" if len(texts) > 1 else "The text")
    return texts
