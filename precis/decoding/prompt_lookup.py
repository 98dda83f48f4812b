"""Prompt look-up decoding (Saxena 2023): what a summary copies from its text is checked several tokens at once."""

DRAFT = 6  # tokens proposed at once
MATCH = 2  # tokens at the end of the summary that have to stand in the text


class PromptLookup:
    """Proposes how one sequence goes on, from where its last tokens stand in the source `ids`."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids
        self._places: dict[tuple[int, ...], int] = {}
        # The first place wins: a lead comes before its repetition.
        for end in range(len(ids) - 1, MATCH - 1, -1):
            self._places[tuple(ids[end - MATCH : end])] = end

    def draft(self, sequence: list[int], room: int) -> list[int]:
        """At most `room` tokens that may follow `sequence`; none where its end does not stand in the text."""
        place = self._places.get(tuple(sequence[-MATCH:]))
        return [] if place is None else self._ids[place : place + min(room, DRAFT)]
