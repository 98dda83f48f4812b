"""Admission, fairness, cancelling, deadlines and failures, through an engine."""

import asyncio
import itertools
import math
import threading
import time
from contextlib import suppress

import pytest

from precis import (
    DeadlineExceeded,
    Engine,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationParams,
    Summary,
    TooMuchWork,
)
from precis.runtime.kv_cache_cpu import EFFICIENT_BATCH_ROWS
from precis.runtime.model import Seq2SeqModel
from tests.support.engines import LIMIT, TEXTS, held_steps, wait_until

LONGEST = GenerationParams(max_new_tokens=512, min_new_tokens=512, long_text="truncate")


def test_cancelled_task_frees_its_row(engine):
    async def cancel_and_submit_another() -> float:
        task = asyncio.create_task(engine.summarize(TEXTS[-1], LONGEST))
        while not engine.stats().running_rows:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        start = time.perf_counter()
        await engine.summarize("A short text.", GenerationParams(max_new_tokens=2))
        return time.perf_counter() - start

    start = time.perf_counter()
    engine.generate([TEXTS[-1]], LONGEST)
    seconds = time.perf_counter() - start
    assert min(asyncio.run(cancel_and_submit_another()) for _ in range(3)) < seconds / 3


def test_text_that_fails_to_encode_does_not_fail_the_others(bundle, monkeypatch):
    encode = Seq2SeqModel._encode

    def fail_for_long_texts(model, session, input_ids):
        if len(input_ids) > 70:
            raise RuntimeError("out of luck")
        return encode(model, session, input_ids)

    monkeypatch.setattr(Seq2SeqModel, "_encode", fail_for_long_texts)
    with Engine.load(bundle) as engine:
        params = GenerationParams(max_new_tokens=4, long_text="truncate")
        futures = [engine.submit(text, params) for text in (TEXTS[0], TEXTS[-1])]
        with pytest.raises(EngineError, match="out of luck"):
            futures[1].result(60)
        assert futures[0].result(60) == engine.generate(TEXTS[:1], GenerationParams(max_new_tokens=4))[0]


def test_failing_decode_step_fails_its_batch_and_the_engine_continues(bundle, monkeypatch):
    with Engine.load(bundle) as engine, Engine.load(bundle) as fresh:
        runner = engine._scheduler.batch.runner
        decode, calls = runner.decode, []

        def fail_at_third_step(input_ids):
            calls.append(input_ids)
            if len(calls) == 3:
                raise RuntimeError("the cable came loose")
            return decode(input_ids)

        monkeypatch.setattr(runner, "decode", fail_at_third_step)
        with pytest.raises(EngineError, match="the cable came loose"):
            engine.generate([TEXTS[-1]], GenerationParams(max_new_tokens=9, min_new_tokens=9, long_text="truncate"))
        params = GenerationParams(max_new_tokens=9)
        assert engine.generate([TEXTS[3]], params) == fresh.generate([TEXTS[3]], params)
        assert runner.kv_cache.free_rows == runner.kv_cache.rows


def test_full_queue_refuses_with_a_retry_time_and_answers_what_it_accepted(bundle):
    async def submit_many(engine: Engine) -> list[Summary | BaseException]:
        tasks = [engine.summarize(text, GenerationParams(long_text="truncate")) for text in TEXTS * 8]
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Engine.load(bundle, max_waiting_tokens=1000) as engine:
        results = asyncio.run(submit_many(engine))
    refused = [result for result in results if isinstance(result, EngineFull)]
    assert 0 < len(refused) < len(results)
    assert all(error.retry_after >= 1 for error in refused)
    assert all(isinstance(result, EngineFull | Summary) for result in results)


def test_cancelled_requests_make_room_in_the_queue_at_once(bundle):
    with Engine.load(bundle, rows=8) as engine:
        futures = [engine.submit(TEXTS[-1], LONGEST) for _ in range(16)]
        engine._scheduler.max_waiting_tokens = 100
        with pytest.raises(EngineFull):
            engine.submit(TEXTS[-1], LONGEST)
        for future in futures:
            future.cancel()
        assert engine.stats().waiting_tokens == 0
        assert engine.submit("A short text.", GenerationParams(max_new_tokens=3)).result(60)


def test_deadline_ends_waiting_and_running_requests(bundle):
    with Engine.load(bundle) as engine:
        params = LONGEST.model_copy(update={"no_repeat_ngram_size": 1})
        start = time.perf_counter()
        for future in [engine.submit(TEXTS[-1], params, timeout=0.3) for _ in range(40)]:
            with pytest.raises(DeadlineExceeded):
                future.result(60)
        assert 0.3 <= time.perf_counter() - start < 20, "not one after another"
        short = engine.submit("A short text.", GenerationParams(max_new_tokens=3), timeout=60)
        assert short.result(60).output_tokens <= 3
        scheduler = engine._scheduler
        assert not scheduler.batch.sequences
        wait_until(lambda: not scheduler._deadlines.pop_expired() and not scheduler._deadlines)


def test_efficient_batch_admits_no_newer_request(bundle):
    with Engine.load(bundle) as engine:
        with held_steps(engine) as run:
            first = engine.submit(TEXTS[0], LONGEST)
            run(1)
            others = [engine.submit(TEXTS[0], LONGEST) for _ in range(EFFICIENT_BATCH_ROWS + 2)]
            run(20)
            assert (engine.stats().running_rows, engine.stats().waiting_requests) == (EFFICIENT_BATCH_ROWS, 3)
            others[0].cancel()
            run(5)
            assert (engine.stats().running_rows, engine.stats().waiting_requests) == (EFFICIENT_BATCH_ROWS, 2)
            for future in [first, *others]:
                future.cancel()
        wait_until(lambda: engine.stats().running_rows == engine.stats().waiting_requests == 0)


def test_requests_that_arrive_together_run_together(bundle):
    engine = Engine.load(bundle)

    def generate():
        with suppress(EngineClosed):
            engine.generate([TEXTS[0]] * 2 * EFFICIENT_BATCH_ROWS, LONGEST)

    caller = threading.Thread(target=generate)
    caller.start()
    wait_until(lambda: engine.stats().running_rows == 2 * EFFICIENT_BATCH_ROWS)
    engine.close()
    caller.join()


@pytest.mark.parametrize("alone", [True, False], ids=["list alone", "list and another caller"])
def test_list_is_prefilled_before_its_first_step_unless_others_run(bundle, monkeypatch, alone):
    with Engine.load(bundle, threads=1) as engine:
        other = None if alone else engine.submit(TEXTS[0], LONGEST)
        wait_until(lambda: alone or engine.stats().running_rows == 1)
        runner = engine._scheduler.batch.runner
        batch, backlog = engine._scheduler.batch, engine._scheduler._backlog
        admit, decode, step_rows, submitted = batch.admit, runner.decode, [], threading.Event()

        def admit_when_all_are_submitted(sequences):
            if sequences and not submitted.is_set():
                wait_until(lambda: len(backlog.requests) == texts + (not alone))
                submitted.set()
            return admit(sequences)

        monkeypatch.setattr(batch, "admit", admit_when_all_are_submitted)
        monkeypatch.setattr(runner, "decode", lambda ids, *rest: step_rows.append(len(ids)) or decode(ids, *rest))
        texts, new_tokens, max_prefill_tokens = 20, 6, runner.kv_cache.max_prefill_tokens
        assert texts * LIMIT > 3 * max_prefill_tokens
        params = GenerationParams(max_new_tokens=new_tokens, min_new_tokens=new_tokens, long_text="truncate")
        engine.generate([TEXTS[-1]] * texts, params)
        if alone:
            assert step_rows == [texts] * new_tokens
        else:
            most_joined = max(after - before for before, after in itertools.pairwise(step_rows))
            assert 0 < most_joined <= max_prefill_tokens // LIMIT, "the other caller's steps go on between prefills"
            other.cancel()


def test_second_list_waits_while_the_first_fills_an_efficient_batch(bundle):
    with Engine.load(bundle) as engine:
        params = GenerationParams(max_new_tokens=128, min_new_tokens=128)
        summaries = []

        def generate():
            summaries.extend(engine.generate([TEXTS[0]] * 2 * EFFICIENT_BATCH_ROWS, params))

        callers = [threading.Thread(target=generate, daemon=True) for _ in range(2)]
        callers[0].start()
        batch = engine._scheduler.batch
        wait_until(lambda: any(sequence.first_token_at < math.inf for sequence in batch.sequences))
        callers[1].start()
        for caller in callers:
            caller.join(120)
        assert len(summaries) == 4 * EFFICIENT_BATCH_ROWS


def test_long_text_lets_others_take_turns(bundle):
    """Its chunks take turns with its caller's other texts, and with other callers'."""
    with Engine.load(bundle, rows=16) as engine:
        params = GenerationParams(max_new_tokens=8, min_new_tokens=8)
        long = engine.submit(" ".join(TEXTS) * 40, params, caller="a")
        wait_until(lambda: engine.stats().running_rows)
        assert engine.stats().waiting_tokens > 20 * LIMIT
        short = [engine.submit("A short text.", params, caller=caller) for caller in ("a", "b")]
        assert [future.result(60).chunks for future in short] == [1, 1]
        assert not long.done(), "it has hundreds of chunks"
        long.cancel()
        wait_until(lambda: engine.stats().running_rows == engine.stats().waiting_tokens == 0)
        assert not engine._scheduler._backlog.requests


def test_finished_requests_leave_no_work_behind(bundle):
    with Engine.load(bundle) as engine:
        futures = [engine.submit(" ".join(TEXTS) * n, GenerationParams(max_new_tokens=5), caller="a") for n in (1, 3)]
        assert all(future.result(60).chunks > 2 for future in futures)
        backlog = engine._scheduler._backlog
        wait_until(lambda: not backlog.requests)
        assert (backlog._callers, backlog.waiting_tokens) == ({}, 0)


def test_a_caller_may_hold_as_much_of_the_queue_as_it_leaves(bundle):
    with Engine.load(bundle, rows=8, max_waiting_tokens=20 * LIMIT) as engine, held_steps(engine) as run:
        everything = [engine.submit(TEXTS[-1], LONGEST) for _ in range(8)]
        run(8)
        assert engine.stats().running_rows == 8

        def submitted(caller: str) -> int:
            futures = []
            with suppress(EngineFull):
                for _ in range(60):
                    futures.append(engine.submit(TEXTS[-1], LONGEST, caller=caller))
            everything.extend(futures)
            return len(futures)

        # One that has more than is left is refused: of 20 texts 11, then 5 of 9, then 3 of 4.
        assert (submitted("a"), submitted("b"), submitted("c")) == (11, 5, 3)
        for future in everything:
            future.cancel()


def test_what_cannot_be_done_in_time_is_refused_at_once(bundle, monkeypatch):
    with Engine.load(bundle) as engine:
        engine.generate(TEXTS[:2], GenerationParams(max_new_tokens=4))
        costs = engine._scheduler._backlog.costs
        costs.decode.add(1000, 100.0)  # as on a slow machine: ten rows and steps a second
        monkeypatch.setattr(costs.decode, "add", lambda *_: None)  # this machine's own steps
        beams = GenerationParams(max_new_tokens=512, min_new_tokens=512, num_beams=8)
        with pytest.raises(TooMuchWork, match="may take 60 s"):
            engine.submit(TEXTS[0], beams, timeout=60)
        few = GenerationParams(max_new_tokens=100, min_new_tokens=100, num_beams=2)  # 20 s
        accepted, refused = [], []
        for number in range(8):
            try:
                accepted.append(engine.submit(TEXTS[0], few, timeout=60, caller=str(number)))
            except EngineFull as error:
                refused.append(error.retry_after)
        assert len(accepted) in (2, 3)
        assert all(1 <= seconds <= 60 for seconds in refused)
        for future in accepted:
            future.cancel()


def test_error_outside_the_guarded_part_ends_the_engine_and_all_requests(bundle, monkeypatch):
    with Engine.load(bundle) as engine:
        running = engine.submit(TEXTS[0], LONGEST)
        wait_until(lambda: engine.stats().running_rows == 1)
        assert not engine.failed
        monkeypatch.setattr(engine._scheduler, "_batch_state", lambda: 1 / 0)
        waiting = engine.submit(TEXTS[0], LONGEST)
        for future in (running, waiting):
            with pytest.raises(EngineClosed, match="has failed"):
                future.result(60)
        engine.wait_until_stopped()
        assert engine.failed
        with pytest.raises(EngineClosed, match="has failed"):
            engine.submit(TEXTS[0])
