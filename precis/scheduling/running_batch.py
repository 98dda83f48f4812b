"""Continuous batching: sequences join and leave the running batch between two decode steps."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precis.decoding import Search, new_search
from precis.decoding.beam import BeamSearch
from precis.decoding.greedy import NO_TOKEN, GreedySearch
from precis.decoding.prompt_lookup import PromptLookup
from precis.params import MAX_BEAMS
from precis.runtime.kv_cache import IntArray, Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner import new_model_runner
from precis.scheduling.ranking import RankingQueue, RankingTurn
from precis.scheduling.sequence import Sequence

RELEASE_SECONDS = 20.0  # between two times that memory is given back while the batch is never empty


@dataclass(eq=False)
class _ActiveSequence:
    """A sequence in the batch: its search, its rows (beams,), and the token that each row decodes next."""

    sequence: Sequence
    search: Search
    rows: IntArray
    next_tokens: list[int]
    lookup: PromptLookup | None  # for greedy search, where the runner supports drafts


class RunningBatch:
    """The sequences that are being decoded and their rows of the KV cache, and the rankings. Not thread-safe."""

    def __init__(self, model: Seq2SeqModel, rows: int, max_source_tokens: int, max_texts: int | None = None) -> None:
        """An empty batch of at most `rows` rows, for sources of at most `max_source_tokens` tokens.

        About `max_texts`, by default as many as rows, are decoded at once: see `free_rows`.
        """
        self.max_texts = rows if max_texts is None else max_texts
        self.runner = new_model_runner(model, rows, max_source_tokens)
        self.kv_cache = self.runner.kv_cache
        self._active: list[_ActiveSequence] = []
        self._ranking_queue = RankingQueue(model, max_source_tokens)
        self._released_at = time.monotonic()

    @property
    def sequences(self) -> list[Sequence]:
        """The sequences in the batch: those that are decoded, then the rankings, in the order in which they joined."""
        return [active.sequence for active in self._active] + self._ranking_queue.sequences

    @property
    def rankings(self) -> int:
        """The number of rankings that are not finished."""
        return len(self._ranking_queue.sequences)

    @property
    def running_rows(self) -> int:
        """The number of rows in use."""
        return self.kv_cache.rows - self.kv_cache.free_rows

    @property
    def free_rows(self) -> int:
        """The number of rows that further sequences may take, which bounds the number of texts as well.

        A free text has MAX_BEAMS / 2 rows. So a text with fewer beams may join although a few too many then run, and
        many texts with the most beams are half as many.
        """
        return min(self.kv_cache.free_rows, MAX_BEAMS // 2 * max(0, self.max_texts - len(self._active)))

    def admit(self, sequences: list[Sequence]) -> dict[Sequence, Exception]:
        """Prefills `sequences` and adds them to the batch; there have to be free rows for all their beams.

        Returns the sequences that could not be prefilled with their exceptions.
        """
        rankings = [sequence for sequence in sequences if sequence.is_ranking]
        failed = self._ranking_queue.admit(rankings) if rankings else {}
        sequences = [sequence for sequence in sequences if not sequence.is_ranking]
        if not sequences:
            return failed
        prefills = [
            Prefill(self.kv_cache.allocate(sequence.rows), sequence.input_ids, sequence.params.max_new_tokens)
            for sequence in sequences
        ]
        for sequence, prefill, error in zip(sequences, prefills, self.runner.prefill(prefills), strict=True):
            if error is not None:
                failed[sequence] = error
                self.kv_cache.free(prefill.rows)
                continue
            search = new_search(sequence.params)
            drafts = isinstance(search, GreedySearch) and self.runner.max_tokens_per_step > 1
            lookup = PromptLookup(sequence.input_ids) if drafts else None
            next_tokens = [sequence.params.decoder_start_token_id] * len(prefill.rows)
            self._active.append(_ActiveSequence(sequence, search, prefill.rows, next_tokens, lookup))
        return failed

    @property
    def last_ranking(self) -> RankingTurn:
        """What the last step scored."""
        return self._ranking_queue.last_turn

    def step(self) -> list[Sequence]:
        """Runs one decode step of all sequences, and a part of the rankings.

        Returns the sequences that left the batch: finished ones, and cancelled ones without a finish_reason.
        """
        if time.monotonic() - self._released_at >= RELEASE_SECONDS:
            self.release_unused_memory()
        return self._step_generation() + self._ranking_queue.step()

    def _step_generation(self) -> list[Sequence]:
        cancelled = [active for active in self._active if active.sequence.is_cancelled()]
        self._remove(cancelled)
        if not self._active:
            return [active.sequence for active in cancelled]
        if len(self._active) == 1 and self._active[0].lookup:
            self._compact()
            self._step_with_draft(self._active[0], self._active[0].lookup)
        else:
            self._step_all()
        now = time.monotonic()
        for active in self._active:
            active.sequence.first_token_at = min(active.sequence.first_token_at, now)
        finished = [active for active in self._active if active.search.finished]
        for active in finished:
            active.sequence.token_ids = active.search.token_ids()
            active.sequence.score, active.sequence.min_token_score = active.search.score, active.search.min_token_score
            active.sequence.finish_reason = active.search.finish_reason
            if isinstance(active.search, BeamSearch) and active.sequence.params.reranks:
                active.sequence.hypotheses = active.search.hypotheses
        self._remove(finished)
        for active in self._active:
            if active.sequence.on_tokens is not None:
                active.sequence.on_tokens(active.search.token_ids())
        return [active.sequence for active in cancelled + finished]

    def clear(self) -> list[Sequence]:
        """Removes all sequences and returns them."""
        sequences = self.sequences
        self._active.clear()
        self._ranking_queue.clear()
        self.kv_cache.free(np.arange(self.kv_cache.rows))
        return sequences

    def release_unused_memory(self) -> None:
        """Gives the memory that earlier, larger batches took back to the system."""
        self.kv_cache.release_unused()
        self._released_at = time.monotonic()

    def compact_if_sparse(self) -> None:
        """Closes the gaps in the KV cache if that saves more than a quarter of a step."""
        if self.kv_cache.is_sparse:
            self._compact()

    def _step_all(self) -> None:
        runner, cache = self.runner, self.kv_cache
        rows = np.concatenate([active.rows for active in self._active])
        input_ids = np.zeros((cache.step_rows, 1), dtype=np.int64)
        input_ids[rows, 0] = [token for active in self._active for token in active.next_tokens]
        suppressed = np.full(cache.step_rows, NO_TOKEN)
        by_graph, by_host = self._by_chooser(suppressed)
        runner.decode(input_ids, suppressed)
        cache.past_length[rows] += 1
        tokens, log_probabilities = runner.argmax
        for search, active in by_graph:
            row = int(active.rows[0])
            search.append(tokens[row], log_probabilities[row])
            active.next_tokens = [tokens[row]]
        for active in by_host:
            self._choose(active)

    def _by_chooser(
        self, suppressed: npt.NDArray[np.int64]
    ) -> tuple[list[tuple[GreedySearch, _ActiveSequence]], list[_ActiveSequence]]:
        """The sequences for which the graph chooses the next token, with their searches, and the others.

        Sets the former's entries of `suppressed` (rows,).
        """
        if not self.runner.chooses_tokens:
            return [], self._active
        by_graph, by_host = [], []
        for active in self._active:
            search = active.search
            if isinstance(search, GreedySearch) and (token := search.suppressed_token) is not None:
                suppressed[active.rows] = token
                by_graph.append((search, active))
            else:
                by_host.append(active)
        return by_graph, by_host

    def _choose(self, active: _ActiveSequence) -> None:
        """Lets a search choose the next tokens from the logits of its rows."""
        search, rows = active.search, active.rows
        logits = self.runner.step_logits(rows)
        if isinstance(search, GreedySearch):
            active.next_tokens = [search.advance(logits)]
        else:
            tokens, parents = search.advance(logits)
            active.next_tokens = tokens.tolist()
            active.rows = self.kv_cache.reorder(rows, rows[parents])

    def _step_with_draft(self, active: _ActiveSequence, lookup: PromptLookup) -> None:
        """Decodes the next token of the only sequence, in row 0, together with a draft of those that follow.

        The search chooses every token from the logits after the tokens before it, so the summary stays the same; the
        draft's tokens are accepted up to the first one that the search does not choose.
        """
        search, cache = active.search, self.kv_cache
        assert isinstance(search, GreedySearch)
        remaining = search.params.max_new_tokens - len(search.sequence)
        draft = lookup.draft(search.sequence, min(self.runner.max_tokens_per_step - 1, remaining))
        self.runner.decode(np.array([[*active.next_tokens, *draft]]))
        for position, drafted in enumerate([*draft, None]):
            active.next_tokens = [search.advance(self.runner.step_logits(active.rows, position))]
            cache.past_length[0] += 1
            if search.finished or active.next_tokens[0] != drafted:
                break

    def _remove(self, removed: list[_ActiveSequence]) -> None:
        for active in removed:
            self.kv_cache.free(active.rows)
            self._active.remove(active)

    def _compact(self) -> None:
        moves = self.kv_cache.compact()
        if moves:
            for active in self._active:
                active.rows = np.array([moves.get(int(row), int(row)) for row in active.rows])
