"""One request: a text on its way to its summary. A long text is summarized in stages."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace

from precis.errors import DeadlineExceeded, EngineError, TextError
from precis.extraction import SCORE_DIGITS, ExtractedSentence, Extraction
from precis.grounding.reranking import best_grounded
from precis.params import GenerationParams, ResolvedParams
from precis.scheduling.sequence import Sequence
from precis.text.passthrough import beginning, is_short
from precis.text.tokenizer import TextTokenizer
from precis.text.validation import check_text
from precis.text.workers import Check


@dataclass(frozen=True)
class Summary:
    """The summary of one text.

    Attributes:
        text: the summary.
        token_ids: its tokens without padding and end tokens.
        input_tokens: tokens of the text, with the model's prefix and end token.
        output_tokens: tokens of the summary.
        chunks: how many chunks a long text was split into; 1 if it was read in one.
        truncated_tokens: tokens that the model did not read.
        finish_reason: "end" if the model ended the summary, "length" if it was cut at the longest allowed one.
        score: the mean log-probability of the generated tokens, end token included, as the search has it after its
            logits processors (transformers' `compute_transition_scores`); of a long text, in the last stage. None
            where nothing was generated: of an extraction, or a text that is its own summary.
        min_token_score: the log-probability of the least probable token, or None.
        margin: of an extraction, how far the scores of the chosen sentences are above those of the others, at least, in
            the last ranking; None where nothing was chosen among others.
        extracted: the sentences that the model chose if it extracts, in the order of the text; else None.
        already_short: the text is its own summary; see `passthrough.is_short`.
        unsupported_language: the model has not learned the text's language; the summary is the text's beginning.
        waiting_seconds: from the submission until the first chunk was prefilled.
        first_token_seconds: from the submission until the first token of the summary.
        seconds: from the submission until the summary was finished.
        estimated_seconds: how long that was expected to take when the request was admitted; None if it was not judged.
    """

    text: str
    token_ids: list[int]
    input_tokens: int
    output_tokens: int
    chunks: int
    truncated_tokens: int
    finish_reason: str
    extracted: list[ExtractedSentence] | None = None
    already_short: bool = False
    unsupported_language: bool = False
    score: float | None = field(default=None, compare=False)
    min_token_score: float | None = field(default=None, compare=False)
    margin: float | None = field(default=None, compare=False)
    waiting_seconds: float = field(default=0.0, compare=False)
    first_token_seconds: float = field(default=0.0, compare=False)
    seconds: float = field(default=0.0, compare=False)
    estimated_seconds: float | None = field(default=None, compare=False)


class Request:
    """A text with its parameters, and the future of its summary.

    In the first stage the text or its chunks are summarized; while there are several summaries, the next stage
    summarizes the summaries. An extraction has stages of its own. Times are those of `time.monotonic()`.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        text: str,
        params: GenerationParams,
        resolved: ResolvedParams,
        timeout: float | None = None,
        input_ids: list[int] | None = None,
        *,
        submitted_at: float | None = None,
        caller: str | None = None,
        weight: float = 1.0,
        feature_weights: Mapping[str, float] | None = None,
        check: Check = lambda: None,
        defer: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        """`timeout` is in seconds from `submitted_at`, by default now; `input_ids` are the text's tokens if the caller
        has encoded it. `caller` names whose request it is, where callers are told apart, and `weight` is the share of
        the engine that the caller has where others have 1. `feature_weights` are those of the bundle's sentence ranker,
        if it has one. `check` is called now and then while a long text is encoded;
        what it raises ends that. `defer` does work that would hold up the thread that decodes.

        Raises TextError if the text is empty or no string, or too long and `params.long_text` is "refuse"; ValueError
        if `weight` is not above 0.
        """
        self._tokenizer, self._params, self.caller, self.weight = tokenizer, resolved, caller, weight
        self.submitted_at = time.monotonic() if submitted_at is None else submitted_at
        self.started_at = math.inf  # when its first sequence joined the batch
        self.deadline = None if timeout is None else self.submitted_at + timeout
        self.future: Future[Summary] = Future()
        self.on_tokens: Callable[[list[int]], None] | None = None  # see Sequence; of the last stage
        self.on_chunk: Callable[[int, int], None] | None = None  # chunks that are summarized, and all of them
        self.estimated_seconds: float | None = None  # set by the scheduler, where a request may be refused
        self.offline = False  # set by the scheduler: whether its caller waits for a list of summaries
        self._defer, self._text = defer, text if resolved.reranks else ""
        check_text(text)
        if not 0 < weight < math.inf:
            raise ValueError(f"weight should be above 0 and finite, not {weight}.")
        input_ids = tokenizer.encode(text, check) if input_ids is None else input_ids
        self.input_tokens = len(input_ids)
        self._chunks = [input_ids]  # the sources of the present stage
        self._extraction: Extraction | None = None
        self.chunks, self.truncated_tokens = 1, 0
        if params.passthrough and self._pass_through(text, input_ids, params, resolved.sentences):
            return
        if len(input_ids) > tokenizer.limit and params.long_text == "refuse":
            raise TextError(f"The text has {len(input_ids)} tokens, and the model reads {tokenizer.limit}.")
        if resolved.mode == "extract":
            split = params.long_text == "split"
            self._extraction = Extraction(
                tokenizer, text, input_ids, resolved, split, self.future.done, feature_weights or {}, check
            )
            self.chunks = self._extraction.chunks
            return
        if len(input_ids) > tokenizer.limit and params.long_text == "split":
            self._chunks = self._split(text, check)
        self.chunks = len(self._chunks)
        self.truncated_tokens = sum(max(0, len(chunk) - tokenizer.limit) for chunk in self._chunks)
        self._chunks = [tokenizer.truncate(chunk) for chunk in self._chunks]  # the rest would only take memory

    def start(self) -> list[Sequence]:
        """The sequences of the present stage. Only the last stage, a single sequence, reports its tokens."""
        if self._extraction:
            self._sequences = self._extraction.start()
            return self._sequences
        on_tokens = self.on_tokens if len(self._chunks) == 1 else None
        self._sequences = [Sequence(source, self._params, self.future.done, on_tokens) for source in self._chunks]
        return self._sequences

    def advance(self) -> list[Sequence]:
        """The sequences of the next stage, once all of the present one are finished; else an empty list.

        Called whenever a sequence is finished; after the last stage it sets the summary.
        """
        if self.on_chunk and len(self._chunks) == self.chunks > 1:
            self.on_chunk(sum(bool(sequence.finish_reason) for sequence in self._sequences), len(self._chunks))
        if not all(sequence.finish_reason for sequence in self._sequences):
            return []
        if self._extraction:
            return self._advance_extraction(self._extraction)
        texts = [self._tokenizer.decode(sequence.token_ids) for sequence in self._sequences]
        if len(texts) == 1:
            last = self._sequences[0]
            if last.hypotheses:
                self._defer(functools.partial(self._rerank, last))
            else:
                self._set_summary(texts[0], last.token_ids, last)
            return []
        joined = " ".join(text for text in texts if text) or texts[0]
        input_ids = self._tokenizer.encode(joined)
        chunks = [input_ids] if len(input_ids) <= self._tokenizer.limit else self._split(joined)
        # Summaries that are no shorter than their texts would never come to an end.
        if len(chunks) >= len(self._chunks):
            chunks = [input_ids]
            self.truncated_tokens += max(0, len(input_ids) - self._tokenizer.limit)
        self._chunks = [self._tokenizer.truncate(chunk) for chunk in chunks]
        return self.start()

    def set_exception(self, error: Exception) -> None:
        """Fails the request, unless it is done or cancelled already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def _rerank(self, last: Sequence) -> None:
        """Sets the summary that is best grounded among the finished beams of the last sequence."""
        texts = [self._tokenizer.decode(hypothesis.token_ids) for hypothesis in last.hypotheses]
        try:
            index = best_grounded(self._text, texts, self._check_wanted)
        except Exception as error:
            known = isinstance(error, EngineError)
            self.set_exception(error if known else EngineError(f"This text failed: {error}"))
            return
        best = last.hypotheses[index]
        self._set_summary(texts[index], best.token_ids, replace(last, **vars(best)))

    def _check_wanted(self) -> None:
        """Raises DeadlineExceeded if nobody waits for the summary any more, or it is too late for it."""
        if self.future.done() or (self.deadline is not None and time.monotonic() >= self.deadline):
            raise DeadlineExceeded("The summary was not ready in time.")

    def _advance_extraction(self, extraction: Extraction) -> list[Sequence]:
        last = self._sequences[-1]
        self._sequences = extraction.advance()
        if not self._sequences:
            self.truncated_tokens = extraction.truncated_tokens
            self._set_summary(extraction.summary, extraction.token_ids, last, extraction)
        return self._sequences

    def _pass_through(self, text: str, input_ids: list[int], params: GenerationParams, sentences: int) -> bool:
        """Sets the summary of a text that the model need not or cannot read; returns whether it did."""
        short = is_short(text)
        if not short and not self._tokenizer.is_unfamiliar(text, input_ids):
            return False
        spans = [(0, len(text))] if short else beginning(text, sentences)
        summary = " ".join(text[start:end] for start, end in spans).strip()
        token_ids = self._tokenizer.encode_summary(summary)
        shortest, longest = params.min_new_tokens or 0, params.max_new_tokens or len(token_ids)
        if short and not shortest <= len(token_ids) <= longest:  # the request asks for something else
            return False
        result = Summary(
            text=summary,
            token_ids=token_ids,
            input_tokens=self.input_tokens,
            output_tokens=len(token_ids),
            chunks=1,
            truncated_tokens=0,
            finish_reason="end",
            already_short=short,
            unsupported_language=not short,
        )
        self.future.set_result(result)
        return True

    def _split(self, text: str, check: Check = lambda: None) -> list[list[int]]:
        return [self._tokenizer.encode(chunk, check) for chunk in self._tokenizer.chunks(text, check)]

    def _set_summary(
        self, text: str, token_ids: list[int], last: Sequence, extraction: Extraction | None = None
    ) -> None:
        """Sets the result; `last` is the sequence that was finished last."""
        summary = Summary(
            text=text,
            token_ids=token_ids,
            input_tokens=self.input_tokens,
            output_tokens=len(token_ids),
            chunks=self.chunks,
            truncated_tokens=self.truncated_tokens,
            finish_reason=last.finish_reason,
            extracted=extraction.sentences if extraction else None,
            score=_finite(last.score),
            min_token_score=_finite(last.min_token_score),
            margin=_finite(extraction.margin) if extraction else None,
            waiting_seconds=self.started_at - self.submitted_at,
            first_token_seconds=last.first_token_at - self.submitted_at,
            seconds=time.monotonic() - self.submitted_at,
            estimated_seconds=self.estimated_seconds,
        )
        with suppress(InvalidStateError):  # cancelled meanwhile
            self.future.set_result(summary)


def _finite(score: float) -> float | None:
    """The score rounded; None if it is no number, which JSON does not have."""
    return round(score, SCORE_DIGITS) if math.isfinite(score) else None
