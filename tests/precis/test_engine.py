"""The engine's front: order, cancelling, deadlines, bounds, failures, closing, bundles that are not whole."""

import asyncio
import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from precis import (
    BundleError,
    DeadlineExceeded,
    Engine,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationParams,
    Summary,
)
from precis.cli import main
from precis.runtime.kv_cache import EFFICIENT_BATCH_ROWS
from precis.runtime.model import Seq2SeqModel
from precis.scheduling.scheduler import ThroughputEstimate
from tests.conftest import ROOT
from tests.support.engines import LIMIT, TEXTS, seal


def test_more_texts_than_a_batch_holds_keep_their_order(engine):
    texts = [f"Number {i} came to the fair and won the prize for the best marrow." for i in range(40)]
    together = engine.generate(texts, GenerationParams(max_new_tokens=8))
    assert together == [engine.generate([text], GenerationParams(max_new_tokens=8))[0] for text in texts]


def test_settings_left_open_come_from_the_bundle(bundle, tmp_path):
    own = shutil.copytree(bundle, tmp_path / "own")
    config = json.loads((own / "generation_config.json").read_text())
    (own / "generation_config.json").write_text(json.dumps({**config, "max_new_tokens": 7, "num_beams": 2}))
    seal(own)
    engine = Engine.load(own)
    text = TEXTS[5]
    assert engine.generate([text]) == engine.generate([text], GenerationParams(max_new_tokens=7, num_beams=2))
    assert engine.generate([text], GenerationParams(max_new_tokens=3))[0].output_tokens <= 3
    engine.close()


def test_a_cancelled_caller_frees_the_engine(engine):
    async def leave():
        task = asyncio.create_task(
            engine.summarize(TEXTS[-1], GenerationParams(max_new_tokens=512, min_new_tokens=512))
        )
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        began = time.perf_counter()
        await engine.summarize("A short text.", GenerationParams(max_new_tokens=2))
        return time.perf_counter() - began

    whole = time.perf_counter()
    engine.generate([TEXTS[-1]], GenerationParams(max_new_tokens=512, min_new_tokens=512))
    whole = time.perf_counter() - whole
    assert asyncio.run(leave()) < whole / 3


def test_a_failing_batch_fails_its_own_callers_and_no_others(bundle, monkeypatch):
    encode = Seq2SeqModel._encode

    def broken(model, session, ids):
        if len(ids) > 40:
            raise RuntimeError("out of luck")
        return encode(model, session, ids)

    monkeypatch.setattr(Seq2SeqModel, "_encode", broken)
    engine = Engine.load(bundle)
    futures = [
        engine.submit(text, GenerationParams(max_new_tokens=4, long_text="truncate"))
        for text in (*TEXTS[:1], TEXTS[-1])
    ]
    with pytest.raises(EngineError, match="out of luck"):
        futures[1].result(20)
    assert futures[0].result(20) == engine.generate(TEXTS[:1], GenerationParams(max_new_tokens=4))[0]
    engine.close()


def test_beyond_the_bound_a_caller_is_told_when_to_come_back(bundle):
    crowded = Engine.load(bundle, max_waiting_tokens=1000)

    async def crowd():
        jobs = [crowded.summarize(text, GenerationParams(long_text="truncate")) for text in TEXTS * 8]
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = asyncio.run(crowd())
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineFull)]
    assert 0 < len(refused) < len(outcomes)
    assert all(outcome.retry_after >= 1 for outcome in refused)
    assert all(isinstance(outcome, EngineFull | Summary) for outcome in outcomes), "what was accepted is answered"
    crowded.close()


def test_a_deadline_ends_what_waits_and_what_runs(bundle):
    engine = Engine.load(bundle)
    long = GenerationParams(max_new_tokens=512, min_new_tokens=512, no_repeat_ngram_size=1, long_text="truncate")
    began = time.perf_counter()
    running = [engine.submit(TEXTS[-1], long, seconds=0.3) for _ in range(40)]
    for future in running:
        with pytest.raises(DeadlineExceeded):
            future.result(20)
    assert 0.3 <= time.perf_counter() - began < 5
    assert engine.submit("A short text.", GenerationParams(max_new_tokens=3), seconds=20).result(20).output_tokens <= 3
    assert not engine._scheduler.scheduler.running
    assert not engine._scheduler._deadlines or not engine._scheduler._deadlines[0][2], "who was answered is not held"
    engine.close()


def until(holds) -> None:
    """Waits for `holds` to be true; fails after a while."""
    for _ in range(400):
        if holds():
            return
        time.sleep(0.02)
    pytest.fail("It did not come about.")


def test_a_crowd_is_joined_by_no_newcomer(bundle):
    engine = Engine.load(bundle)
    long = GenerationParams(max_new_tokens=512, min_new_tokens=512)
    first = engine.submit(TEXTS[0], long)
    until(lambda: engine.stats().running_rows == 1)
    others = [engine.submit(TEXTS[0], long) for _ in range(EFFICIENT_BATCH_ROWS + 2)]
    until(lambda: engine.stats().running_rows == EFFICIENT_BATCH_ROWS)
    time.sleep(0.1)
    assert (engine.stats().running_rows, engine.stats().waiting_requests) == (EFFICIENT_BATCH_ROWS, 3)
    others[0].cancel()
    until(lambda: engine.stats().waiting_requests == 2)
    time.sleep(0.1)
    assert engine.stats().running_rows == EFFICIENT_BATCH_ROWS, "one left and one joined"
    for future in [first, *others]:
        future.cancel()
    until(lambda: engine.stats().running_rows == engine.stats().waiting_requests == 0)
    engine.close()


def test_a_crowd_that_came_together_runs_together(bundle):
    engine = Engine.load(bundle)

    def all_at_once():
        with suppress(EngineClosed):
            engine.generate(
                [TEXTS[0]] * 2 * EFFICIENT_BATCH_ROWS, GenerationParams(max_new_tokens=512, min_new_tokens=512)
            )

    caller = threading.Thread(target=all_at_once)
    caller.start()
    until(lambda: engine.stats().running_rows == 2 * EFFICIENT_BATCH_ROWS)
    engine.close()
    caller.join()


@pytest.mark.parametrize("alone", [True, False], ids=["a list", "a list beside another caller"])
def test_a_list_is_read_before_its_first_step_unless_others_run(bundle, monkeypatch, alone):
    engine = Engine.load(bundle, threads=1)
    other = None if alone else engine.submit(TEXTS[0], GenerationParams(max_new_tokens=512, min_new_tokens=512))
    until(lambda: alone or engine.stats().running_rows == 1)
    slots = engine._scheduler.scheduler._slots
    step, heights = slots.step, []
    monkeypatch.setattr(slots, "step", lambda tokens: heights.append(len(tokens)) or step(tokens))
    count, new = 20, 6
    assert count * LIMIT > 3 * engine._scheduler.scheduler.budget
    engine.generate([TEXTS[-1]] * count, GenerationParams(max_new_tokens=new, min_new_tokens=new, long_text="truncate"))
    if alone:
        assert heights == [count] * new
    else:
        grown = max(after - before for before, after in itertools.pairwise(heights))
        assert 0 < grown <= engine._scheduler.scheduler.budget // LIMIT, "the other goes on while the list is read"
        other.cancel()
    engine.close()


def test_a_second_list_waits_for_the_crowd_of_the_first(bundle):
    engine = Engine.load(bundle)
    long = GenerationParams(max_new_tokens=512, min_new_tokens=512)
    found = []

    def ask():
        found.extend(engine.generate([TEXTS[0]] * 2 * EFFICIENT_BATCH_ROWS, long))

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    callers[0].start()
    until(lambda: any(job.first_token for job in engine._scheduler.scheduler.running))
    callers[1].start()
    for caller in callers:
        caller.join(60)
    assert len(found) == 4 * EFFICIENT_BATCH_ROWS
    engine.close()


def test_callers_who_leave_make_room_at_once(bundle):
    crowded = Engine.load(bundle, rows=8)
    long = GenerationParams(max_new_tokens=512, min_new_tokens=512, long_text="truncate")
    futures = [crowded.submit(TEXTS[-1], long) for _ in range(16)]
    crowded._scheduler.max_waiting_tokens = 100
    with pytest.raises(EngineFull):
        crowded.submit(TEXTS[-1], long)
    for future in futures:
        future.cancel()
    assert crowded._scheduler._waiting_tokens == 0
    assert crowded.submit("A short text.", GenerationParams(max_new_tokens=3)).result(20)
    crowded.close()


def test_the_expected_wait_follows_the_measured_rate():
    drain = ThroughputEstimate()
    for _ in range(100):
        drain.add(500, 1.0)
    assert drain.seconds(5000) == pytest.approx(10, rel=0.05)
    assert drain.seconds(1) == 1.0
    for _ in range(100):
        drain.add(5000, 1.0)
    assert drain.seconds(50_000) == pytest.approx(10, rel=0.05)


def test_a_failing_step_fails_those_in_it_and_the_engine_goes_on(bundle, monkeypatch):
    engine = Engine.load(bundle)
    slots = engine._scheduler.scheduler._slots
    step, calls = slots.step, []

    def broken(tokens):
        calls.append(tokens)
        if len(calls) == 3:
            raise RuntimeError("the cable came loose")
        return step(tokens)

    monkeypatch.setattr(slots, "step", broken)
    with pytest.raises(EngineError, match="the cable came loose"):
        engine.generate([TEXTS[-1]], GenerationParams(max_new_tokens=9, min_new_tokens=9, long_text="truncate"))
    again = engine.generate([TEXTS[3]], GenerationParams(max_new_tokens=9))[0]
    fresh = Engine.load(bundle)
    assert again == fresh.generate([TEXTS[3]], GenerationParams(max_new_tokens=9))[0]
    assert slots.free_rows == slots.rows
    engine.close()
    fresh.close()


def test_the_memory_of_the_caches_is_stated(bundle, rounded, caplog):
    with caplog.at_level("INFO", "precis.engine"):
        for folder in (bundle, rounded):
            Engine.load(folder, threads=2, rows=16).close()
    # 4 layers of keys and values, 4 heads of 64: 528 own entries and 112 of the source, of 4 bytes or 1.
    config = json.loads((bundle / "config.json").read_text())
    width = config["num_decoder_layers"] * 2 * config["num_heads"] * config["d_kv"]
    for record, size in zip(caplog.records, (4, 1), strict=True):
        each = width * (528 * 4 + (LIMIT + 16) * size) / 1e6
        assert record.getMessage() == (f"2 threads, 16 rows of {each:.1f} MB: caches of at most {16 * each:.0f} MB")


def test_an_engine_nobody_holds_ends_its_thread(bundle):
    forgotten = Engine.load(bundle)
    forgotten.generate(["A text."], GenerationParams(max_new_tokens=2))
    thread = forgotten._scheduler.thread
    del forgotten
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_a_closed_engine_says_so(bundle):
    engine = Engine.load(bundle)
    engine.close()
    with pytest.raises(EngineClosed):
        engine.generate(["A text."])


def test_closing_tells_those_who_wait(bundle):
    engine = Engine.load(bundle)
    outcomes = []

    def wait():
        try:
            engine.generate(TEXTS * 10, GenerationParams(max_new_tokens=512, min_new_tokens=512))
        except EngineClosed as error:
            outcomes.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    engine.close()
    thread.join(20)
    assert len(outcomes) == 1


def test_a_program_that_forgets_to_close_still_ends(bundle):
    code = f"from precis import Engine; e = Engine.load({str(bundle)!r}); print(e.generate(['A text.'])[0].text)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model_merged.onnx", "tokenizer.json", "config.json"])
def test_a_changed_byte_is_refused_and_the_file_named(bundle, tmp_path, name):
    changed = shutil.copytree(bundle, tmp_path / "changed")
    content = bytearray((changed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (changed / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Engine.load(changed)


def test_bundles_that_are_not_whole_are_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        Engine.load(tmp_path / "nowhere")
    part = shutil.copytree(bundle, tmp_path / "part")
    (part / "encoder_model.onnx").unlink()
    with pytest.raises(BundleError, match=r"encoder_model\.onnx is missing"):
        Engine.load(part)
    (part / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON"):
        Engine.load(part)
    own = shutil.copytree(bundle, tmp_path / "own")
    seal(own, format=1)
    with pytest.raises(BundleError, match="format 1"):
        Engine.load(own)
    outside = json.loads((bundle / "manifest.json").read_text())
    outside["files"]["../secret"] = "0"
    (own / "manifest.json").write_text(json.dumps(outside))
    with pytest.raises(BundleError, match="outside the bundle"):
        Engine.load(own)


def test_a_search_the_engine_does_not_do_is_refused(bundle, tmp_path):
    own = shutil.copytree(bundle, tmp_path / "own")
    config = json.loads((own / "generation_config.json").read_text())
    (own / "generation_config.json").write_text(json.dumps({**config, "do_sample": True, "num_beam_groups": 2}))
    seal(own)
    with pytest.raises(BundleError, match="num_beam_groups=2"):
        Engine.load(own)


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(bundle):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="CUDAExecutionProvider"):
        Engine.load(bundle, device="cuda")


def test_the_command_prints_the_summary_of_a_file_and_of_standard_input(bundle, engine, tmp_path):
    text = TEXTS[3]
    (tmp_path / "article.txt").write_text(text)
    command = [sys.executable, "-m", "precis", "summarize", str(bundle)]
    expected = engine.generate([text])[0].text
    named = subprocess.run([*command, str(tmp_path / "article.txt")], cwd=ROOT, capture_output=True, text=True)
    piped = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
    assert named.stdout == piped.stdout == expected + "\n"
    for words, said in [
        ([str(tmp_path / "gone.txt")], "gone.txt"),
        ([os.devnull], "empty"),
        ([str(tmp_path / "article.txt"), "--num-beams", "99"], "num_beams"),
    ]:
        failed = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
        assert failed.returncode == 1
        assert said in failed.stderr
        assert failed.stderr.count("\n") == 1


def test_the_command_leaves_no_engine_running_behind_an_error(bundle, capsys):
    before = set(threading.enumerate())
    assert main(["summarize", str(bundle), os.devnull]) == 1
    assert capsys.readouterr().err == "The text is empty.\n"
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "engine"]


def test_onnx_runtime_keeps_no_telemetry_identity(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", "import precis.engine"], cwd=ROOT, env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
