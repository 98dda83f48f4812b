"""The engine's front: texts in, summaries out, from any thread or event loop; one worker thread decodes."""

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.batch import Job, run_batch
from engine.bundle import Bundle, open_bundle
from engine.errors import EngineClosed, EngineError, EngineFull, TextError
from engine.generation import Generation, Settings, check_config, resolve
from engine.model import Seq2SeqModel
from engine.text import Codec, Pieces

MAX_ROWS = 16  # rows of one batch, a beam being a row
MAX_WAITING_TOKENS = 1 << 18


@dataclass(frozen=True)
class Summary:
    """One text's summary. `token_ids` are without pad and end tokens; `pieces` counts the parts a long text was cut
    into (1: read whole); `truncated_tokens` those the model did not read; `finish_reason` is "end" or "length"."""

    text: str
    token_ids: list[int]
    input_tokens: int
    output_tokens: int
    pieces: int
    truncated_tokens: int
    finish_reason: str


class _Request:
    """A caller's text on its way: its pieces are decoded, and where there are several, their summaries after them."""

    def __init__(self, codec: Codec, text: str, generation: Generation, settings: Settings) -> None:
        self.codec, self.settings = codec, settings
        self.future: Future[Summary] = Future()
        self.grown: Callable[[list[int]], None] | None = None
        if not text.strip():
            raise TextError("The text is empty.")
        ids = codec.encode(text)
        self.input_tokens, self.pieces = len(ids), 1
        if len(ids) > codec.limit and generation.long_text == "refuse":
            raise TextError(f"The text has {len(ids)} tokens, and the model reads {codec.limit}.")
        if len(ids) > codec.limit and generation.long_text == "split":
            texts = codec.pieces(text)
            self.pieces = len(texts)
            self.parts = [codec.encode(piece) for piece in texts]
        else:
            self.parts = [ids]
        # What does not fit is said, not hidden.
        self.truncated_tokens = sum(max(0, len(part) - codec.limit) for part in self.parts)

    def jobs(self) -> list[Job]:
        """What is to be decoded now; only the last stage of a text streams."""
        last = len(self.parts) == 1
        self.stage = [
            Job(self.codec.cut(part), self.settings, self.future.done, self.grown if last else None)
            for part in self.parts
        ]
        return self.stage

    def advance(self) -> list[Job]:
        """Called when every job of the stage is done: the next stage's jobs, or none once the summary is there."""
        texts = [self.codec.decode(job.tokens) for job in self.stage]
        if len(texts) > 1:
            joined = " ".join(text for text in texts if text) or texts[0]
            ids = self.codec.encode(joined)
            parts = [ids] if len(ids) <= self.codec.limit else [self.codec.encode(p) for p in self.codec.pieces(joined)]
            # Summaries that are no shorter than their texts would go round for ever.
            if len(parts) >= len(self.parts):
                parts = [ids]
                self.truncated_tokens += max(0, len(ids) - self.codec.limit)
            self.parts = parts
            return self.jobs()
        job = self.stage[0]
        summary = Summary(
            texts[0],
            job.tokens,
            self.input_tokens,
            len(job.tokens),
            self.pieces,
            self.truncated_tokens,
            job.finish_reason,
        )
        _settle(self.future, summary)
        return []


class _Worker:
    """The queue and the thread that empties it, one static batch after another. Holds no reference to the Engine, so
    that an engine nobody uses any more is collected and its thread ends."""

    def __init__(self, model: Seq2SeqModel) -> None:
        self.model = model
        self.waiting: deque[tuple[_Request, Job]] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.tokens_per_second = 2000.0  # a first guess, measured from the first batch on
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def submit(self, request: _Request, bounded: bool) -> None:
        with self.changed:
            if self.closed:
                raise EngineClosed("The engine is closed.")
            tokens = sum(len(job.ids) for _, job in self.waiting)
            if bounded and tokens > MAX_WAITING_TOKENS:
                raise EngineFull(max(1.0, tokens / self.tokens_per_second))
            self.waiting.extend((request, job) for job in request.jobs())
            self.changed.notify()

    def stop(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            began = time.perf_counter()
            try:
                run_batch(self.model, [job for _, job in batch], lambda: self.closed)
            except Exception as error:
                for request, _ in batch:
                    _settle(request.future, EngineError(f"This text's batch failed: {error}"))
                continue
            rate = sum(len(job.ids) for _, job in batch) / (time.perf_counter() - began)
            self.tokens_per_second += 0.2 * (rate - self.tokens_per_second)
            for request in dict.fromkeys(request for request, _ in batch):
                self._after(request)
        with self.changed:
            for request, _ in self.waiting:
                _settle(request.future, EngineClosed("The engine was closed."))

    def _next_batch(self) -> list[tuple[_Request, Job]]:
        """Waits for work; the oldest jobs that fit into MAX_ROWS rows. Empty when the engine is closed."""
        batch, rows = [], 0
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            while self.waiting and not self.closed:
                request, job = self.waiting[0]
                if not job.gone():
                    rows += job.settings.num_beams
                    if batch and rows > MAX_ROWS:
                        break
                    batch.append((request, job))
                self.waiting.popleft()
                if not self.waiting and not batch:
                    self.changed.wait_for(lambda: self.waiting or self.closed)
        return batch

    def _after(self, request: _Request) -> None:
        """Moves a request on once its stage is decoded; later stages go first, their caller has waited longest."""
        if request.future.cancelled():
            return
        if self.closed:
            _settle(request.future, EngineClosed("The engine was closed."))
        elif all(job.finish_reason for job in request.stage):
            try:
                jobs = request.advance()
            except Exception as error:
                _settle(request.future, EngineError(f"This text failed: {error}"))
                return
            with self.changed:
                self.waiting.extendleft((request, job) for job in reversed(jobs))


class Engine:
    """A loaded bundle. Thread-safe; close it, or leave that to the garbage collector or the program's end."""

    def __init__(self, bundle: Bundle, codec: Codec, model: Seq2SeqModel) -> None:
        self.bundle, self._codec = bundle, codec
        self._worker = _Worker(model)
        weakref.finalize(self, self._worker.stop)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu", threads: int | None = None) -> "Engine":
        """Verifies and loads the bundle at `folder`. `threads` None leaves the number to ONNX Runtime.

        Raises BundleError, or EngineError where `device` ("cpu" or "cuda") is not to be had.
        """
        bundle = open_bundle(folder)
        check_config(bundle.generation_config)
        return cls(bundle, Codec.load(bundle), Seq2SeqModel(bundle, device, threads))

    def generate(self, texts: list[str], generation: Generation | None = None) -> list[Summary]:
        """Summaries of `texts` in order; blocks. Raises TextError, GenerationError or EngineError."""
        requests = [self._request(text, generation) for text in texts]
        # Texts of like length share a batch. A caller with a list waits for all of it, so no bound applies.
        for request in sorted(requests, key=lambda request: request.input_tokens):
            self._worker.submit(request, bounded=False)
        return [request.future.result() for request in requests]

    async def summarize(self, text: str, generation: Generation | None = None) -> Summary:
        """The summary of one text; cancelling frees its rows at the next step. Raises also EngineFull."""
        request = self._request(text, generation)
        self._worker.submit(request, bounded=True)
        return await asyncio.wrap_future(request.future)

    async def stream(self, text: str, generation: Generation | None = None) -> AsyncIterator[str | Summary]:
        """Pieces of the summary as they are certain, which join to its text, and then the Summary."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()
        request = self._request(text, generation)

        def tell(tokens: list[int] | None) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, tokens)
            except RuntimeError:  # the caller's loop is closed: nobody listens
                request.future.cancel()

        request.grown = tell
        request.future.add_done_callback(lambda _: tell(None))
        self._worker.submit(request, bounded=True)
        pieces = Pieces(self._codec)
        try:
            while (tokens := await queue.get()) is not None:
                if piece := pieces.grow(tokens):
                    yield piece
            summary = request.future.result()
            if piece := pieces.finish(summary.text):
                yield piece
            yield summary
        finally:
            request.future.cancel()

    def teacher_forced_logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        """Logits (steps, vocabulary) for each input where the decoder is fed the given tokens, as one batch.

        For proofs: the same sessions, caches and masks as in serving, without search.
        """
        model, start = self._worker.model, self.bundle.generation_config["decoder_start_token_id"]
        longest = max(len(row) for row in tokens)
        fed = np.array([row + [row[-1]] * (longest - len(row)) for row in tokens])
        logits, state = model.start([model.encode(ids) for ids in inputs], start)
        steps = [logits]
        for step in range(longest - 1):
            steps.append(model.step(fed[:, step], state))
        stacked = np.stack(steps, axis=1)
        return [stacked[row, : len(tokens[row])] for row in range(len(tokens))]

    def close(self) -> None:
        """Stops at the next step; work that is not done raises EngineClosed."""
        self._worker.stop()
        self._worker.thread.join()

    def _request(self, text: str, generation: Generation | None) -> _Request:
        generation = generation or Generation()
        return _Request(self._codec, text, generation, resolve(generation, self.bundle.generation_config))


def _settle(future: Future[Summary], outcome: Summary | Exception) -> None:
    """Sets the outcome unless the caller has gone."""
    try:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass
