"""A caller's text on its way to its summary; long texts go in stages."""

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from precis.errors import TextError
from precis.params import GenerationParams, ResolvedParams
from precis.scheduling.running_batch import Sequence
from precis.text import is_blank
from precis.text.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Summary:
    """One text's summary. `token_ids` are without pad and end tokens; `chunks` counts the parts a long text was cut
    into (1: read whole); `truncated_tokens` those the model did not read; `finish_reason` is "end" or "length".

    Seconds since it was asked for: `waiting_seconds` until its first chunk joined the batch, `first_token_seconds`
    until the summary's first token was there, `seconds` until all was."""

    text: str
    token_ids: list[int]
    input_tokens: int
    output_tokens: int
    chunks: int
    truncated_tokens: int
    finish_reason: str
    waiting_seconds: float = field(default=0.0, compare=False)
    first_token_seconds: float = field(default=0.0, compare=False)
    seconds: float = field(default=0.0, compare=False)


class Request:
    """The chunks of a text are decoded, and where there are several, their summaries after them.

    `deadline` is a reading of time.monotonic(), or None; `ids` are the text's tokens, where the caller has them. Raises
    TextError for an empty text and a refused length.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        text: str,
        generation: GenerationParams,
        settings: ResolvedParams,
        seconds: float | None = None,
        ids: list[int] | None = None,
    ) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self.asked = time.monotonic()
        self.joined: float | None = None  # when its first chunk joined the batch
        self.deadline = None if seconds is None else self.asked + seconds
        self.future: Future[Summary] = Future()
        self.grown: Callable[[list[int]], None] | None = None
        self.waiting_tokens = 0  # the queue's
        self.offline = False  # whether it is of a list, for all of which its caller waits
        if is_blank(text):
            raise TextError("The text is empty.")
        ids = tokenizer.encode(text) if ids is None else ids
        self.input_tokens, self.chunks = len(ids), 1
        if len(ids) > tokenizer.limit and generation.long_text == "refuse":
            raise TextError(f"The text has {len(ids)} tokens, and the model reads {tokenizer.limit}.")
        if len(ids) > tokenizer.limit and generation.long_text == "split":
            texts = tokenizer.chunks(text)
            self.chunks = len(texts)
            self.parts = [tokenizer.encode(chunk) for chunk in texts]
        else:
            self.parts = [ids]
        # What does not fit is said, not hidden.
        self.truncated_tokens = sum(max(0, len(part) - tokenizer.limit) for part in self.parts)

    def jobs(self) -> list[Sequence]:
        """What is to be decoded now; only the last stage of a text streams."""
        last = len(self.parts) == 1
        self.stage = [
            Sequence(self.tokenizer.truncate(part), self.settings, self.future.done, self.grown if last else None)
            for part in self.parts
        ]
        return self.stage

    def advance(self) -> list[Sequence]:
        """Called when a job of the stage is done: the next stage's jobs after the last one, or none."""
        if not all(job.finish_reason for job in self.stage):
            return []
        texts = [self.tokenizer.decode(job.tokens) for job in self.stage]
        if len(texts) > 1:
            joined = " ".join(text for text in texts if text) or texts[0]
            ids = self.tokenizer.encode(joined)
            parts = (
                [ids]
                if len(ids) <= self.tokenizer.limit
                else [self.tokenizer.encode(p) for p in self.tokenizer.chunks(joined)]
            )
            # Summaries that are no shorter than their texts would go round for ever.
            if len(parts) >= len(self.parts):
                parts = [ids]
                self.truncated_tokens += max(0, len(ids) - self.tokenizer.limit)
            self.parts = parts
            return self.jobs()
        job = self.stage[0]
        self.settle(
            Summary(
                texts[0],
                job.tokens,
                self.input_tokens,
                len(job.tokens),
                self.chunks,
                self.truncated_tokens,
                job.finish_reason,
                waiting_seconds=self.joined - self.asked,
                first_token_seconds=job.first_token - self.asked,
                seconds=time.monotonic() - self.asked,
            )
        )
        return []

    def settle(self, outcome: Summary | Exception) -> None:
        """Sets the outcome unless the caller has gone or has it already."""
        try:
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        except InvalidStateError:
            pass
