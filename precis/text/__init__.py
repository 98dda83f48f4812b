"""Text: tokens and back, sentences, and chunks of texts that are longer than the model reads."""


def is_blank(text: str | None) -> bool:
    """Whether there is nothing to summarize: None, no characters, or whitespace only."""
    return not text or text.isspace()
