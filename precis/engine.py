"""The public front of the library: texts in, summaries out, from any thread or event loop."""

import asyncio
import functools
import itertools
import logging
import math
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from precis.bundle.reports import TrustCertificate
from precis.bundle.verify import Bundle, open_bundle
from precis.grounding.certificate import covering_certificate
from precis.params import GenerationParams, check_generation_config, check_token_ids, resolve
from precis.request import Request, Summary
from precis.runtime.cache_size import cache_size
from precis.runtime.model import Seq2SeqModel
from precis.runtime.placement import operator_counts
from precis.runtime.teacher_forcing import teacher_forced_logits
from precis.runtime.threads import check_threads, default_threads
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.scheduler import MAX_WAITING_TOKENS, Scheduler
from precis.stats import Stats
from precis.text.detokenizer import IncrementalDetokenizer
from precis.text.familiarity import READ_CHARACTERS
from precis.text.tokenizer import TextTokenizer
from precis.text.validation import check_text, checked_texts
from precis.text.workers import LONGEST, Check, FairThread, TextWorkers

log = logging.getLogger(__name__)


class Engine:
    """A loaded bundle. Thread-safe.

        with Engine.load("artifacts/embedded/bundle") as engine:
            summary = engine.generate(["A long article ..."])[0]

    One thread decodes. It ends with `close`, at the end of the `with` block, when the engine is garbage collected, or
    with the program.
    """

    def __init__(
        self, bundle: Bundle, tokenizer: TextTokenizer, model: Seq2SeqModel, rows: int | None, max_waiting_tokens: int
    ) -> None:
        """Use `Engine.load`."""
        self.bundle, self._tokenizer, self._model = bundle, tokenizer, model
        size = cache_size(model, tokenizer.limit, rows)
        self._cache_bytes = size.total_bytes
        sizes = (model.threads, size.texts, size.rows, size.row_bytes / 1e6, size.total_bytes / 1e6)
        log.info("%d threads, KV cache of %d texts in %d rows of %.1f MB, at most %.0f MB", *sizes)
        batch = RunningBatch(model, size.rows, tokenizer.limit, size.texts)
        self._scheduler = Scheduler(batch, max_waiting_tokens)
        self._text_workers, self._rerank_thread = TextWorkers(), FairThread("precis-rerank")
        self._lists = itertools.count()
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

        Args:
            folder: a folder that `python -m export` wrote.
            device: "cpu" or "cuda".
            threads: threads of ONNX Runtime; by default one a physical core that this process may use.
            rows: how many sequences are decoded at once, a beam counting as one; at least MAX_BEAMS. By default
                as many as are useful and fit into memory (precis/runtime/cache_size.py).
            max_waiting_tokens: while more tokens than this wait, `submit`, `summarize` and `stream` raise EngineFull.
            allow_cpu_fallback: use the CPU if the device is not available, or for nodes that it cannot run.

        Raises BundleError if the bundle is missing, altered or not supported. Raises EngineError if `threads` are out
        of bounds, or the device is not available or would leave heavy nodes to the CPU without `allow_cpu_fallback`.
        """
        check_threads(threads)
        bundle = open_bundle(folder)
        check_generation_config(bundle.generation_config)
        tokenizer = TextTokenizer.load(bundle)
        model = Seq2SeqModel(bundle, device, threads or default_threads(), allow_cpu_fallback)
        check_token_ids(bundle.generation_config, model.vocab_size)
        return cls(bundle, tokenizer, model, rows, max_waiting_tokens)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers of this engine, the requested one first."""
        return self._model.providers

    @property
    def node_placement(self) -> dict[str, dict[str, dict[str, int]]]:
        """How many nodes of each operator run where: {graph: {provider: {operator: nodes}}}."""
        return {graph: operator_counts(placement) for graph, placement in self._model.placement.items()}

    def certificate(self, params: GenerationParams | None = None) -> TrustCertificate | None:
        """The bundle's certificate of trust that covers summaries by `params`, or None. Raises GenerationError."""
        return covering_certificate(self.bundle, params or GenerationParams())

    def generate(self, texts: Iterable[str], params: GenerationParams | None = None) -> list[Summary]:
        """The summaries of `texts` in their order; blocks until all are there. The queue has no limit for a list.

        A list is a caller of its own, so that it takes turns with other lists and with what else is submitted.

        Raises TextError, GenerationError, EngineClosed or EngineError, and TypeError for a string.
        """
        texts = checked_texts(texts)
        caller = f"list {next(self._lists)}"
        requests = [
            self._request(text, params, None, input_ids, caller=caller)
            for text, input_ids in zip(texts, self._tokenizer.encode_all(texts), strict=True)
        ]
        # Sorted, so that texts of similar length share a batch.
        for request in sorted(requests, key=lambda request: request.input_tokens):
            self._scheduler.submit(request, bounded=False)
        return [request.future.result() for request in requests]

    def submit(
        self,
        text: str,
        params: GenerationParams | None = None,
        *,
        timeout: float | None = None,
        caller: str | None = None,
        weight: float = 1.0,
    ) -> Future[Summary]:
        """Queues one text. Cancelling the future frees its rows at the next decode step.

        After `timeout` seconds the future raises DeadlineExceeded. Callers, by any names, are served in turn, each by
        its `weight` above 0. Raises TextError, GenerationError, EngineFull, TooMuchWork, EngineClosed or ValueError.
        """
        request = self._request(text, params, timeout, caller=caller, weight=weight)
        self._scheduler.submit(request, bounded=True)
        return request.future

    async def summarize(
        self,
        text: str,
        params: GenerationParams | None = None,
        *,
        timeout: float | None = None,
        caller: str | None = None,
        weight: float = 1.0,
    ) -> Summary:
        """The summary of one text. Cancelling the task cancels the request. Raises what `submit` and its future do."""
        request = await self._request_async(text, params, timeout, caller, weight)
        self._scheduler.submit(request, bounded=True)
        return await asyncio.wrap_future(request.future)

    async def stream(
        self,
        text: str,
        params: GenerationParams | None = None,
        *,
        timeout: float | None = None,
        caller: str | None = None,
        weight: float = 1.0,
        on_chunk: Callable[[int, int], None] | None = None,
    ) -> AsyncGenerator[str | Summary, None]:
        """Deltas of the summary's text as they become certain, and last the Summary. Raises as `summarize` does.

        `on_chunk` is called in the event loop for each chunk of a long text that is summarized, in mode `write`, with
        the number of those that are and of all.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[list[int] | None] = asyncio.Queue()  # all tokens so far; None at the end
        request = await self._request_async(text, params, timeout, caller, weight)

        def call(function: Callable[..., None], *arguments: Any) -> None:
            try:
                loop.call_soon_threadsafe(function, *arguments)
            except RuntimeError:  # the caller's event loop is closed
                request.future.cancel()

        request.on_tokens = functools.partial(call, queue.put_nowait)
        request.on_chunk = functools.partial(call, on_chunk) if on_chunk else None
        request.future.add_done_callback(lambda _: call(queue.put_nowait, None))
        self._scheduler.submit(request, bounded=True)
        detokenizer = IncrementalDetokenizer(self._tokenizer)
        try:
            while (token_ids := await queue.get()) is not None:
                if delta := detokenizer.delta(token_ids):
                    yield delta
            summary = request.future.result()
            if delta := detokenizer.finish(summary.text):
                yield delta
            yield summary
        finally:
            request.future.cancel()

    def assume_measured_speed(self) -> None:
        """Lets admission assume that decoding is as fast as it was at best, until more is measured."""
        self._scheduler.costs.decode.assume_best()

    @property
    def failed(self) -> bool:
        """Whether the engine was ended by an error of its own; it raises EngineClosed from then on."""
        return self._scheduler.failed

    def wait_until_stopped(self) -> None:
        """Blocks until the engine is closed or has failed."""
        self._scheduler.thread.join()

    def check_admission(self, caller: str | None = None, timeout: float | None = None) -> None:
        """Raises EngineFull if `submit` would for want of room, so that a text that is refused need not be read."""
        self._scheduler.check_admission(caller, math.inf if timeout is None else timeout)

    def stats(self) -> Stats:
        """What is running and waiting at present."""
        return self._scheduler.stats(self._cache_bytes)

    def teacher_forced_logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[npt.NDArray[np.float32]]:
        """The decoder's logits (steps, vocabulary) for each of `inputs` when it is fed the given `tokens`."""
        start_token = self.bundle.generation_config["decoder_start_token_id"]
        return teacher_forced_logits(self._model, inputs, tokens, start_token)

    def close(self) -> None:
        """Stops after the current decode step; requests that are not finished raise EngineClosed."""
        self._scheduler.stop()
        self._scheduler.thread.join()
        self._text_workers.close()
        self._rerank_thread.close()

    async def _request_async(
        self, text: str, params: GenerationParams | None, timeout: float | None, caller: str | None, weight: float
    ) -> Request:
        self.check_admission(caller, timeout)
        submitted_at = time.monotonic()
        deadline = None if timeout is None else submitted_at + timeout

        def work(check: Check) -> Request:
            self.check_admission(caller, timeout)  # again: the queue may have filled while this text waited
            check_text(text)
            self._check_size(text, params or GenerationParams(), deadline)
            return self._request(text, params, timeout, None, submitted_at, caller, weight, check)

        return await self._text_workers.run(text, deadline, work, caller)

    def _check_size(self, text: str, params: GenerationParams, deadline: float | None) -> None:
        """Raises TooMuchWork, before it is encoded, for a text whose chunks cannot be prefilled until `deadline`.

        Not known before are the chunks that an extraction reads: those with a sentence that no other chunk has.
        """
        is_split = params.long_text == "split" and resolve(params, self.bundle.generation_config).mode == "write"
        if len(text) <= LONGEST or deadline is None or not is_split:
            return
        beginning = text[:READ_CHARACTERS]
        if params.passthrough and self._tokenizer.is_unfamiliar(beginning, self._tokenizer.encode(beginning)):
            return
        self._scheduler.check_prefill(self._tokenizer.estimate_tokens(text), deadline)

    def _request(
        self,
        text: str,
        params: GenerationParams | None,
        timeout: float | None,
        input_ids: list[int] | None = None,
        submitted_at: float | None = None,
        caller: str | None = None,
        weight: float = 1.0,
        check: Check = lambda: None,
    ) -> Request:
        params = params or GenerationParams()
        resolved = resolve(params, self.bundle.generation_config)
        return Request(
            self._tokenizer,
            text,
            params,
            resolved,
            timeout,
            input_ids,
            submitted_at=submitted_at,
            caller=caller,
            weight=weight,
            feature_weights=self.bundle.manifest.sentence_features,
            check=check,
            defer=functools.partial(self._rerank_thread.submit, caller),
        )
