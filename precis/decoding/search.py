"""Greedy and beam search over one text's rows, token for token as transformers 4.57 `generate` has them."""

from itertools import takewhile

import numpy as np

from precis.params import ResolvedParams

LOW = np.float32(-1e9)  # transformers' mark for "not a candidate"
BLOCK = 128  # scores that are looked at together


class Greedy:
    """Takes the best token at each step. One row."""

    rows = 1

    def __init__(self, settings: ResolvedParams) -> None:
        self.settings = settings
        self.sequence = [settings.start]
        self.finished = False
        self.finish_reason = "length"

    def advance(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chooses from logits (1, vocabulary), which it overwrites; returns the next tokens (1,) and the rows they
        continue (1,)."""
        scores = apply_logits_processors(np.array([self.sequence]), logits, self.settings)
        return self.take(int(scores[0].argmax()))

    @property
    def accepts_argmax(self) -> bool:
        """Whether `take` with the token of the largest logit is all there is to it."""
        return self.settings.plain

    def take(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        """Goes on with `token`; returns what `advance` does."""
        self.sequence.append(token)
        if token in self.settings.ends:
            self.finished, self.finish_reason = True, "end"
        elif len(self.sequence) > self.settings.max_new_tokens:
            self.finished = True
        return np.array([token]), np.zeros(1, dtype=np.int64)

    def tokens(self) -> list[int]:
        """The tokens so far, without start, end and padding."""
        return _plain(self.sequence[1:], self.settings)


class Beam:
    """Beam search (transformers `_beam_search`, the vectorized one of 4.50 and later). `num_beams` rows."""

    accepts_argmax = False

    def __init__(self, settings: ResolvedParams) -> None:
        self.settings = settings
        self.rows = settings.num_beams
        self.running = np.full((self.rows, 1), settings.start)
        # Only the first row counts at the first step, since all rows are alike.
        self.running_scores = np.array([0.0] + [LOW] * (self.rows - 1), dtype=np.float32)
        self.done: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * self.rows
        self.done_scores = np.full(self.rows, LOW)
        self.is_done = np.zeros(self.rows, dtype=bool)
        self.improvable = True
        self.finished = False

    def advance(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chooses from logits (rows, vocabulary), which it overwrites; returns next tokens (rows,) and the rows they
        continue (rows,)."""
        settings, rows = self.settings, self.rows
        scores = apply_logits_processors(self.running, _log_softmax(logits), settings)
        scores += self.running_scores[:, None]
        keep = max(2, 1 + len(settings.ends)) * rows
        best = _top(scores.reshape(-1), keep)
        values = scores.reshape(-1)[best]
        parents, tokens = best // scores.shape[1], best % scores.shape[1]
        candidates = np.concatenate([self.running[parents], tokens[:, None]], axis=1)
        length = candidates.shape[1] - 1  # new tokens
        stops = np.isin(tokens, settings.ends) | (length >= settings.max_new_tokens)

        open_values = values + stops * LOW
        chosen = _top(open_values, rows)
        self._collect(candidates, values, stops, length)
        self.running, self.running_scores = candidates[chosen], open_values[chosen]

        self.improvable = self.improvable and self._can_improve(length)
        all_done = bool(self.is_done.all()) and settings.early_stopping is True
        self.finished = not self.improvable or all_done or bool(stops.all())
        return tokens[chosen], parents[chosen]

    def _collect(self, candidates: np.ndarray, values: np.ndarray, stops: np.ndarray, length: int) -> None:
        """Keeps the best `rows` of the finished sequences so far and those that just finished."""
        just_done = stops & (np.arange(len(stops)) < self.rows)
        final = values / np.float32(length**self.settings.length_penalty)
        if self.is_done.all() and self.settings.early_stopping is True:
            final = final + LOW
        final = np.where(just_done, final, final + LOW)
        merged_scores = np.concatenate([self.done_scores, final])
        order = _top(merged_scores, self.rows)
        merged = [*self.done, *candidates[:, 1:]]
        self.done = [merged[i] for i in order]
        self.done_scores = merged_scores[order]
        self.is_done = np.concatenate([self.is_done, just_done])[order]

    def _can_improve(self, length: int) -> bool:
        """Whether a running row may still beat the worst finished one (transformers' early-stop heuristic)."""
        settings = self.settings
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            length = settings.max_new_tokens
        best = self.running_scores[0] / np.float32(length**settings.length_penalty)
        worst = np.where(self.is_done, self.done_scores.min(), LOW)
        return bool((best > worst).any())

    @property
    def finish_reason(self) -> str:
        """Whether the best sequence ended by itself or was cut."""
        return "end" if len(self.done[0]) and self.done[0][-1] in self.settings.ends else "length"

    def tokens(self) -> list[int]:
        """The best sequence without start, end and padding; before one has won, how all that still may begin."""
        if self.finished:
            return _plain(self.done[0], self.settings)
        done = [sequence for sequence, is_done in zip(self.done, self.is_done, strict=True) if is_done]
        alike = takewhile(lambda tokens: len({*tokens}) == 1, zip(*self.running[:, 1:].tolist(), *done, strict=False))
        return _plain([tokens[0] for tokens in alike], self.settings)


def new_search(settings: ResolvedParams) -> Greedy | Beam:
    """The search that the settings ask for."""
    return Greedy(settings) if settings.num_beams == 1 else Beam(settings)


def apply_logits_processors(sequences: np.ndarray, scores: np.ndarray, settings: ResolvedParams) -> np.ndarray:
    """Scores (rows, vocabulary), changed in place, under the rules in transformers' order (`_get_logits_processor`).

    `sequences`, (rows, length), include the start token, which transformers lets count as a repetition.
    """
    if settings.plain:
        return scores
    if settings.repetition_penalty != 1.0:
        penalty = np.float32(settings.repetition_penalty)
        seen = np.take_along_axis(scores, sequences, axis=1)
        np.put_along_axis(scores, sequences, np.where(seen < 0, seen * penalty, seen / penalty), axis=1)
    size = settings.no_repeat_ngram_size
    if 0 < size <= sequences.shape[1]:
        for row, sequence in enumerate(sequences.tolist()):
            last = sequence[len(sequence) - size + 1 :]
            banned = [
                sequence[i + size - 1] for i in range(len(sequence) - size + 1) if sequence[i : i + size - 1] == last
            ]
            scores[row, banned] = -np.inf
    new = sequences.shape[1] - 1
    if new < settings.min_new_tokens:
        scores[:, settings.ends] = -np.inf
    if settings.forced_first is not None and new == 0:
        scores = _only((settings.forced_first,), scores)
    if settings.forced_last and new == settings.max_new_tokens - 1:
        scores = _only(settings.forced_last, scores)
    scores[:, settings.suppressed] = -np.inf
    if new == (settings.forced_first is not None):
        scores[:, settings.suppressed_first] = -np.inf
    return scores


def _only(tokens: tuple[int, ...], scores: np.ndarray) -> np.ndarray:
    forced = np.full_like(scores, -np.inf)
    forced[:, tokens] = 0.0
    return forced


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """In place: memory of this size comes fresh from the system each time, which takes longer than the arithmetic."""
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def _top(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest values, largest first, the lower index first among equals."""
    whole = len(values) // BLOCK
    if whole > 2 * count:
        # The largest stand in the blocks with the largest maxima, and a block's maximum is found fast.
        blocks = _top(values[: whole * BLOCK].reshape(whole, BLOCK).max(axis=1), count)
        within = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        places = np.concatenate([within, np.arange(whole * BLOCK, len(values))])
    else:
        places = np.arange(len(values))
    found = values[places]
    if count < len(found):
        places = places[found >= np.partition(found, -count)[-count]]
    return places[np.lexsort((places, -values[places]))][:count]


def _plain(tokens: list[int], settings: ResolvedParams) -> list[int]:
    return [int(token) for token in tokens if token != settings.pad and token not in settings.ends]
