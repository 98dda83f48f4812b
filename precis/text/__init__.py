"""Text: tokens and back, sentences, the body of a text, and chunks of texts that are longer than the model reads."""

import re
import unicodedata

# T5's special tokens. In a user's text they have no meaning: the model reads blanks in their place.
SPECIAL_TOKEN = re.compile(r"</s>|<pad>|<unk>|<extra_id_\d{1,3}>")
_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))  # control and format characters, spaces
# Characters of other categories that show nothing (Unicode's Default_Ignorable_Code_Point, the empty Braille cell), and
# two that T5's tokenizers read as a space.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
    "\u2581\ufffd]"
)


def is_blank(text: str | None) -> bool:
    """Whether a model reads nothing in `text`: None, spaces, invisible characters and special tokens only."""
    if not text or text.isspace():
        return True
    at = 0
    while at < len(text):
        if token := SPECIAL_TOKEN.match(text, at):
            at = token.end()
        elif unicodedata.category(text[at]) in _INVISIBLE_CATEGORIES or _INVISIBLE.match(text, at):
            at += 1
        else:
            return False
    return True


def without_special_tokens(text: str) -> str:
    """`text` with blanks for special tokens, of the same length."""
    return SPECIAL_TOKEN.sub(lambda token: " " * len(token[0]), text) if "<" in text else text
