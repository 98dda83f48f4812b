"""Prompt look-up decoding (Saxena 2023): a draft is copied from the source text and verified in one decode step."""

MAX_DRAFT_TOKENS = 6
NGRAM_SIZE = 2  # tokens at the end of the summary that have to occur in the source


class PromptLookup:
    """Drafts the next tokens of a summary from where its last tokens occur in the source, `input_ids`."""

    def __init__(self, input_ids: list[int]) -> None:
        self._input_ids = input_ids
        self._continuations: dict[tuple[int, ...], int] = {}  # position after the first occurrence of an n-gram
        # From the end to the beginning, so that the first occurrence wins: a lead comes before its repetition.
        for end in range(len(input_ids) - 1, NGRAM_SIZE - 1, -1):
            self._continuations[tuple(input_ids[end - NGRAM_SIZE : end])] = end

    def draft(self, sequence: list[int], max_tokens: int) -> list[int]:
        """At most `max_tokens` tokens that may follow `sequence`; empty if its last n-gram is not in the source."""
        position = self._continuations.get(tuple(sequence[-NGRAM_SIZE:]))
        if position is None:
            return []
        return self._input_ids[position : position + min(max_tokens, MAX_DRAFT_TOKENS)]
