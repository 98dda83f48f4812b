"""Finds, for each token of a summary, the longest run of a document's tokens that ends with it.

A suffix automaton (Blumer et al. 1985) of the summary reads the document once: time is linear in both, memory in the
summary.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Match(NamedTuple):
    """A run of `length` tokens that ends at token `end` of the document, in its sentence number `sentence`.

    `negation` is the first negation of that sentence, an index of a token, or -1.
    """

    length: int
    end: int
    sentence: int
    negation: int


@dataclass
class _State:
    """A state of the suffix automaton: substrings up to `length`, and the first of them that the document has."""

    length: int
    link: int
    next: dict[str, int]
    match: Match | None = None


class SuffixAutomaton:
    """The suffix automaton of the summary's tokens; `read` advances it by a token of the document."""

    def __init__(self, forms: Iterable[str]) -> None:
        self.states = [_State(0, -1, {})]
        self._prefixes: list[int] = []  # the state of each prefix of the tokens
        self._state = self._length = 0
        last = 0
        for form in forms:
            last = self._extend(last, form)
            self._prefixes.append(last)

    def _extend(self, last: int, form: str) -> int:
        states = self.states
        new = len(states)
        states.append(_State(states[last].length + 1, 0, {}))
        state = last
        while state >= 0 and form not in states[state].next:
            states[state].next[form] = new
            state = states[state].link
        if state < 0:
            return new
        target = states[state].next[form]
        if states[target].length == states[state].length + 1:
            states[new].link = target
            return new
        clone = len(states)
        states.append(_State(states[state].length + 1, states[target].link, dict(states[target].next)))
        while state >= 0 and states[state].next.get(form) == target:
            states[state].next[form] = clone
            state = states[state].link
        states[target].link = states[new].link = clone
        return new

    def restart(self) -> None:
        """A sentence of the document begins."""
        self._state = self._length = 0

    def read(self, form: str, end: int, sentence: int, negation: int) -> None:
        """Takes in token `end` of the document."""
        states, state, length = self.states, self._state, self._length
        while state and form not in states[state].next:
            state = states[state].link
            length = states[state].length
        following = states[state].next.get(form)
        if following is None:
            self._state = self._length = 0
            return
        self._state, self._length = following, length + 1
        match = states[following].match
        if match is None or match.length < length + 1:
            states[following].match = Match(length + 1, end, sentence, negation)

    def matches(self) -> list[Match | None]:
        """For each token of the summary, the longest run of the document that ends with it."""
        states = self.states
        by_length = sorted(range(1, len(states)), key=lambda state: states[state].length)
        for state in map(states.__getitem__, reversed(by_length)):  # a suffix occurs where its extensions do
            parent = states[state.link]
            if state.match and state.link and (parent.match is None or parent.match.length < parent.length):
                parent.match = state.match._replace(length=parent.length)
        longest: list[Match | None] = [None] * len(states)
        for number in by_length:
            longest[number] = states[number].match or longest[states[number].link]
        return [longest[prefix] for prefix in self._prefixes]
