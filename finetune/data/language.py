"""Identifies the language of a set of texts with py3langid."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNDETERMINED = "und"  # ISO 639-2
MIN_CONFIDENCE = 0.5  # lists of names or of numbers score far lower, sentences higher
CHARACTERS = 2000  # read of each text


def detect_language(texts: list[str]) -> str:
    """The ISO 639 code of the language that most of `texts` are in, or "und" if the model is not confident."""
    code, _ = _identifier().classify(" ".join(text[:CHARACTERS] for text in texts))
    return str(code)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=MIN_CONFIDENCE)
