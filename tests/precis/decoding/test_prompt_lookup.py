"""Drafts of prompt look-up decoding."""

from precis.decoding.prompt_lookup import PromptLookup


def test_draft_is_what_follows_the_last_ngram_in_the_source():
    lookup = PromptLookup([5, 6, 7, 8, 5, 6, 9, 1])
    assert lookup.draft([0, 5, 6], 3) == [7, 8, 5], "the first occurrence counts"
    assert lookup.draft([0, 6, 9], 3) == [1]
    assert lookup.draft([0, 5, 6], 0) == []
    assert lookup.draft([0, 6, 5], 3) == lookup.draft([0], 3) == []
