"""The engine's front: texts in, summaries out, from any thread or event loop; one worker thread decodes."""

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from precis.bundle.verify import Bundle, open_bundle
from precis.params import MAX_BEAMS, GenerationParams, check_config, resolve
from precis.request import Request, Summary
from precis.runtime.kv_cache import Prefill
from precis.runtime.kv_cache_cuda import bytes_per_row, new_kv_cache
from precis.runtime.model import Seq2SeqModel
from precis.runtime.placement import counted
from precis.runtime.threads import default_threads
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.scheduler import MAX_WAITING_TOKENS, Scheduler
from precis.stats import Stats
from precis.text.tokenizer import IncrementalDetokenizer, TextTokenizer

ROWS = {"cpu": 32, "cuda": 128}  # sequences decoded at once, a beam being one, where their caches fit into CACHE_BYTES
CACHE_BYTES = {"cpu": 2 << 30, "cuda": 8 << 30}
LONG_TEXT = 20_000  # characters

log = logging.getLogger("precis.engine")


class Engine:
    """A loaded bundle. Thread-safe; close it, or leave that to the garbage collector or the program's end."""

    def __init__(
        self, bundle: Bundle, tokenizer: TextTokenizer, model: Seq2SeqModel, rows: int | None, max_waiting_tokens: int
    ) -> None:
        self.bundle, self._tokenizer, self._model = bundle, tokenizer, model
        each = bytes_per_row(model, tokenizer.limit)
        rows = max(MAX_BEAMS, rows or min(ROWS[model.device], CACHE_BYTES[model.device] // each))
        log.info(
            "%d threads, %d rows of %.1f MB: caches of at most %.0f MB",
            model.threads,
            rows,
            each / 1e6,
            rows * each / 1e6,
        )
        self._cache_bytes = rows * each
        self._scheduler = Scheduler(RunningBatch(model, rows, tokenizer.limit), max_waiting_tokens)
        weakref.finalize(self, self._scheduler.stop)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        rows: int | None = None,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
        allow_cpu_fallback: bool = False,
    ) -> "Engine":
        """Verifies and loads the bundle at `folder`.

        `threads` None is one a core that this process may use; `rows` sequences are decoded at once (a beam is one; at
        least MAX_BEAMS), None is ROWS or what fits into CACHE_BYTES. While more than `max_waiting_tokens`
        wait, `submit`, `summarize` and `stream` raise EngineFull. Raises BundleError, or EngineError where `device`
        ("cpu" or "cuda") is not to be had, or would leave heavy nodes to the CPU without `allow_cpu_fallback`.
        """
        bundle = open_bundle(folder)
        check_config(bundle.generation_config)
        return cls(
            bundle,
            TextTokenizer.load(bundle),
            Seq2SeqModel(bundle, device, threads or default_threads(), allow_cpu_fallback),
            rows,
            max_waiting_tokens,
        )

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers of this engine, the one asked for first."""
        return self._model.providers

    @property
    def node_placement(self) -> dict[str, dict[str, dict[str, int]]]:
        """How many nodes of each operator run where: {graph: {provider: {operator: nodes}}}."""
        return {graph: counted(placed) for graph, placed in self._model.placement.items()}

    def generate(self, texts: list[str], generation: GenerationParams | None = None) -> list[Summary]:
        """Summaries of `texts` in order; blocks. Raises TextError, GenerationError or EngineError."""
        requests = [
            self._request(text, generation, ids=ids)
            for text, ids in zip(texts, self._tokenizer.encode_all(texts), strict=True)
        ]
        # Texts of like length share a batch. A caller with a list waits for all of it, so no bound applies.
        for request in sorted(requests, key=lambda request: request.input_tokens):
            self._scheduler.submit(request, bounded=False)
        return [request.future.result() for request in requests]

    def submit(
        self, text: str, generation: GenerationParams | None = None, *, seconds: float | None = None
    ) -> Future[Summary]:
        """Queues one text; the future's cancel() frees its rows at the next step.

        After `seconds` it raises DeadlineExceeded. Raises TextError, GenerationError, EngineFull or EngineClosed.
        """
        request = self._request(text, generation, seconds)
        self._scheduler.submit(request, bounded=True)
        return request.future

    async def summarize(
        self, text: str, generation: GenerationParams | None = None, *, seconds: float | None = None
    ) -> Summary:
        """The summary of one text, as `submit` queues it; cancelling the task cancels the work."""
        request = await self._request_aside(text, generation, seconds)
        self._scheduler.submit(request, bounded=True)
        return await asyncio.wrap_future(request.future)

    async def stream(
        self, text: str, generation: GenerationParams | None = None, *, seconds: float | None = None
    ) -> AsyncGenerator[str | Summary, None]:
        """Deltas of the summary's text as they become certain, and then the Summary. Raises as `submit` does."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()
        request = await self._request_aside(text, generation, seconds)

        def tell(tokens: list[int] | None) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, tokens)
            except RuntimeError:  # the caller's loop is closed: nobody listens
                request.future.cancel()

        request.grown = tell
        request.future.add_done_callback(lambda _: tell(None))
        self._scheduler.submit(request, bounded=True)
        pieces = IncrementalDetokenizer(self._tokenizer)
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

    def check_room(self) -> None:
        """Raises EngineFull where `submit` would now, before anything is spent on a text."""
        self._scheduler.check_room()

    def stats(self) -> Stats:
        """What is running and waiting at this moment."""
        return self._scheduler.stats(self._cache_bytes)

    def teacher_forced_logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        """Logits (steps, vocabulary) for each input where the decoder is fed the given tokens, as one batch.

        For proofs: the same sessions and caches as in serving, without search.
        """
        start = self.bundle.generation_config["decoder_start_token_id"]
        slots = new_kv_cache(self._model, len(inputs), max(map(len, inputs)), repeated=False)
        rows = slots.take(len(inputs))
        longest = max(len(row) for row in tokens)
        for error in slots.start([Prefill(rows[i : i + 1], ids, longest) for i, ids in enumerate(inputs)]):
            if error:
                raise error
        fed = np.array([[start, *row, *row[-1:] * (longest - len(row))] for row in tokens])
        steps = []
        for step in range(longest):
            steps.append(slots.step(fed[:, step : step + 1])[:, 0].copy())
            slots.past_length += 1
        stacked = np.stack(steps, axis=1)
        return [stacked[row, : len(tokens[row])] for row in range(len(tokens))]

    def close(self) -> None:
        """Stops at the next step; work that is not done raises EngineClosed."""
        self._scheduler.stop()
        self._scheduler.thread.join()

    async def _request_aside(self, text: str, generation: GenerationParams | None, seconds: float | None) -> Request:
        """A long text is tokenized in a thread, so that the caller's loop goes on meanwhile."""
        self.check_room()
        if len(text) <= LONG_TEXT:
            return self._request(text, generation, seconds)
        return await asyncio.to_thread(self._request, text, generation, seconds)

    def _request(
        self, text: str, generation: GenerationParams | None, seconds: float | None = None, ids: list[int] | None = None
    ) -> Request:
        generation = generation or GenerationParams()
        settings = resolve(generation, self.bundle.generation_config)
        return Request(self._tokenizer, text, generation, settings, seconds, ids)
