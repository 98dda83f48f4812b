"""The engine against transformers' `generate`, text by text and token by token, and its own contract."""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from engine import (
    BundleError,
    DeadlineExceeded,
    Engine,
    EngineClosed,
    EngineError,
    EngineFull,
    Generation,
    GenerationError,
    Summary,
    TextError,
)
from engine.bundle import FORMAT, open_bundle, sha256
from engine.generation import resolve
from engine.lookup import Lookup
from engine.model import Seq2SeqModel
from engine.scheduler import Job, Scheduler
from engine.text import Codec
from engine.worker import Drain
from export.onnx_model import write_onnx
from tests.conftest import ROOT, gazette, tiny_t5

LIMIT = 96
TEXTS = [row["document"][: 60 + 37 * i] for i, row in enumerate(gazette("validation")[:12])]
ODD = "🙂👩‍👩‍👧 Łódź 日本語 Nguyễn ✓ "

SETTINGS = [
    {"max_new_tokens": 20},
    {"max_new_tokens": 24, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 16, "repetition_penalty": 1.5, "min_new_tokens": 9},
    {"max_new_tokens": 16, "num_beams": 4, "no_repeat_ngram_size": 3},
    {"max_new_tokens": 12, "num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
    {"max_new_tokens": 12, "num_beams": 2, "early_stopping": "never", "length_penalty": -1.0, "min_new_tokens": 4},
    {"max_new_tokens": 14, "num_beams": 5, "repetition_penalty": 0.8},
]


def seal(folder, **manifest):
    """Writes a manifest for what lies in `folder`."""
    files = {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    content = {"format": FORMAT, "prefix": "summarize: ", "max_input_tokens": LIMIT, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "mt5", "base"])
def pair(request, tmp_path_factory):
    """A model in PyTorch with its tokenizer, and the engine on its bundle."""
    folder = tmp_path_factory.mktemp("pair")
    model_folder = ROOT / "models/base" if request.param == "base" else tiny_t5(folder / "model", request.param)
    bundle = folder / "bundle"
    bundle.mkdir()
    write_onnx(model_folder, bundle)
    seal(bundle)
    model = AutoModelForSeq2SeqLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    engine = Engine.load(bundle, threads=2)
    yield model, AutoTokenizer.from_pretrained(model_folder), engine
    engine.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "bundle"
    folder.mkdir()
    write_onnx(ROOT / "models/base", folder)
    seal(folder, name="base")
    return folder


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """The base in 8 bits."""
    folder = tmp_path_factory.mktemp("base-int8") / "bundle"
    folder.mkdir()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    texts = ["summarize: " + row["document"] for row in gazette("train")[:8]]
    write_onnx(ROOT / "models/base", folder, tokenizer(texts, truncation=True, max_length=LIMIT).input_ids)
    seal(folder, name="base-int8")
    return folder


@pytest.fixture(scope="module")
def engine(bundle):
    loaded = Engine.load(bundle)
    yield loaded
    loaded.close()


@torch.inference_mode()
def reference(model, tokenizer, text, settings):
    """transformers' summary of one text alone: tokens without pad and end, and text."""
    inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
    tokens = model.generate(**inputs, **settings)[0].tolist()
    return [t for t in tokens if t not in (0, 1)], tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_batch_says_what_transformers_says_of_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, Generation(**settings, long_text="truncate"))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)


def test_settings_of_all_kinds_share_a_batch(pair):
    model, tokenizer, engine = pair

    async def all_at_once():
        jobs = [
            engine.summarize(text, Generation(**settings, long_text="truncate"))
            for text, settings in zip(TEXTS, SETTINGS, strict=False)
        ]
        return await asyncio.gather(*jobs)

    for text, settings, summary in zip(TEXTS, SETTINGS, asyncio.run(all_at_once()), strict=False):
        assert summary.token_ids == reference(model, tokenizer, text, settings)[0]


@pytest.mark.parametrize(
    "rules",
    [
        {"forced_bos_token_id": 40, "begin_suppress_tokens": [41, 42], "suppress_tokens": [43, 1]},
        {"forced_eos_token_id": 1, "suppress_tokens": [3, 5]},
        {"forced_eos_token_id": [7], "decoder_start_token_id": 9},
        {"eos_token_id": [1, 300, 301, 302], "min_length": 6, "max_length": 15},
    ],
    ids=lambda rules: "-".join(rules),
)
@pytest.mark.parametrize("beams", [1, 3])
def test_what_the_bundle_forces_and_forbids_is_done_as_transformers_does_it(pair, tmp_path, rules, beams):
    model, tokenizer, engine = pair
    own = shutil.copytree(engine.bundle.folder, tmp_path / "own")
    config = json.loads((own / "generation_config.json").read_text()) | {"max_length": 14} | rules
    (own / "generation_config.json").write_text(json.dumps(config))
    seal(own)
    changed = Engine.load(own)
    settings = GenerationConfig(**config, num_beams=beams)
    for text in TEXTS[:4]:
        inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
        tokens = model.generate(**inputs, generation_config=settings)[0].tolist()[1:]
        ends = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
        expected = [token for token in tokens if token != 0 and token not in ends]
        found = changed.generate([text], Generation(num_beams=beams, long_text="truncate"))[0]
        assert found.token_ids == expected
    changed.close()


ARRIVAL = st.tuples(
    st.integers(0, 25), st.integers(0, len(TEXTS) - 1), st.integers(0, len(SETTINGS) - 1), st.none() | st.integers(1, 9)
)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def scheduled(request):
    """A scheduler with few rows on the base, and a memory of what each job gave alone."""
    folder = request.getfixturevalue("bundle" if request.param == "fp32" else "rounded")
    bundle = open_bundle(folder)
    return Scheduler(Seq2SeqModel(bundle, "cpu", 1), 8, LIMIT), Codec.load(bundle), bundle.generation_config, {}


def job(codec, config, text, settings, gone=lambda: False):
    ids = codec.cut(codec.encode(TEXTS[text]))
    return Job(ids, resolve(Generation(**SETTINGS[settings]), config), gone)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(arrivals=st.lists(ARRIVAL, min_size=2, max_size=9))
def test_a_text_says_the_same_alone_in_any_company_and_from_any_step_on(scheduled, arrivals):
    """Texts of all lengths and settings arrive at random steps; some callers leave in the middle."""
    scheduler, codec, config, known = scheduled
    left_at = {}
    jobs = []
    for arrival, text, settings, stays in sorted(arrivals, key=lambda arrival: arrival[0]):
        at = [10**6]
        jobs.append((arrival, text, settings, job(codec, config, text, settings, lambda at=at: step >= at[0])))
        left_at[jobs[-1][3]] = (at, stays)
    waiting, step = list(jobs), 0
    while waiting or scheduler.running:
        while waiting and waiting[0][0] <= step and scheduler.has_room(waiting[0][3]):
            new = waiting.pop(0)[3]
            scheduler.admit(new)
            at, stays = left_at[new]
            at[0] = step + stays if stays else 10**6
        scheduler.step()
        scheduler.tidy()
        step += 1
    for _, text, settings, done in jobs:
        if (text, settings) not in known:
            known[text, settings] = alone(scheduler, job(codec, config, text, settings))
        if done.finish_reason:
            assert done.tokens == known[text, settings]
        else:
            assert left_at[done][1], "only those whose caller left are without an end"


def test_looking_up_saves_steps_and_changes_nothing(bundle):
    opened = open_bundle(bundle)
    model, codec = Seq2SeqModel(opened, "cpu", 1), Codec.load(opened)
    copied = 0
    for text in range(4):
        scheduler = Scheduler(model, 8, LIMIT)
        first = job(codec, opened.generation_config, text, 0)
        scheduler.admit(first)
        steps = 0
        while scheduler.running:
            scheduler.step()
            steps += 1
        second = job(codec, opened.generation_config, text, 0)
        scheduler.admit(second)
        scheduler._running[0].lookup = None
        slow = 0
        while scheduler.running:
            scheduler.step()
            slow += 1
        assert first.tokens == second.tokens
        assert steps <= slow
        copied += slow - steps
    assert copied > 4


def test_a_draft_is_what_follows_in_the_text():
    lookup = Lookup([5, 6, 7, 8, 5, 6, 9, 1])
    assert lookup.draft([0, 5, 6], 3) == [7, 8, 5], "the first place counts"
    assert lookup.draft([0, 6, 9], 3) == [1]
    assert lookup.draft([0, 5, 6], 0) == []
    assert lookup.draft([0, 6, 5], 3) == lookup.draft([0], 3) == []


def test_gaps_are_filled_in_place_and_closed_when_nobody_comes(bundle):
    opened = open_bundle(bundle)
    model, codec = Seq2SeqModel(opened, "cpu", 1), Codec.load(opened)
    scheduler = Scheduler(model, 8, LIMIT)
    left = set()
    jobs = [job(codec, opened.generation_config, text, 0) for text in range(5)]
    for number, each in enumerate(jobs):
        each.gone = lambda number=number: number in left
        scheduler.admit(each)
    left |= {1, 3}
    scheduler.step()
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (5, 2)
    scheduler.admit(job(codec, opened.generation_config, 6, 0))
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (5, 1)
    left |= {0}
    scheduler.step()
    scheduler.tidy()
    assert (scheduler._slots.height, scheduler._slots.gaps()) == (3, 0)
    while scheduler.running:
        scheduler.step()
    assert jobs[4].tokens == alone(scheduler, job(codec, opened.generation_config, 4, 0))


def alone(scheduler, single):
    scheduler.admit(single)
    while scheduler.running:
        scheduler.step()
    return single.tokens


def test_more_texts_than_a_batch_holds_keep_their_order(engine):
    texts = [f"Number {i} came to the fair and won the prize for the best marrow." for i in range(40)]
    together = engine.generate(texts, Generation(max_new_tokens=8))
    assert together == [engine.generate([text], Generation(max_new_tokens=8))[0] for text in texts]


def test_settings_left_open_come_from_the_bundle(bundle, tmp_path):
    own = shutil.copytree(bundle, tmp_path / "own")
    config = json.loads((own / "generation_config.json").read_text())
    (own / "generation_config.json").write_text(json.dumps({**config, "max_new_tokens": 7, "num_beams": 2}))
    seal(own)
    engine = Engine.load(own)
    text = TEXTS[5]
    assert engine.generate([text]) == engine.generate([text], Generation(max_new_tokens=7, num_beams=2))
    assert engine.generate([text], Generation(max_new_tokens=3))[0].output_tokens <= 3
    engine.close()


def test_streamed_pieces_join_to_the_summary(pair):
    _, _, engine = pair

    async def pieces(text, settings):
        return [piece async for piece in engine.stream(text, Generation(**settings, long_text="truncate"))]

    for text, settings in [(TEXTS[4], SETTINGS[0]), (ODD * 4, SETTINGS[1]), (TEXTS[6], SETTINGS[3])]:
        *parts, summary = asyncio.run(pieces(text, settings))
        assert "".join(parts) == summary.text
        assert summary == engine.generate([text], Generation(**settings, long_text="truncate"))[0]


def test_characters_of_several_tokens_stream_whole(bundle):
    engine = Engine.load(bundle)
    from engine.text import Pieces

    codec, text = engine._codec, "Ok 🙂👩‍👩‍👧 Łódź 日本語, fine."
    ids = codec.tokenizer.encode(text, add_special_tokens=False).ids
    growing = Pieces(codec)
    parts = [growing.grow(ids[:end]) for end in range(1, len(ids) + 1)]
    parts.append(growing.finish(codec.decode(ids)))
    assert "".join(parts) == text
    assert not any("�" in part for part in parts)
    assert sum(bool(part) for part in parts) > 4
    engine.close()


def test_a_long_text_is_cut_into_pieces_that_leave_nothing_out(engine):
    text = " ".join(row["document"] for row in gazette("validation")[:4])
    pieces = engine._codec.pieces(text)
    assert all(len(engine._codec.encode(piece)) <= LIMIT for piece in pieces)
    joined = pieces[0]
    repeated = 0
    for piece in pieces[1:]:
        shared = next(n for n in range(len(piece), -1, -1) if joined.endswith(piece[:n].strip()))
        repeated += shared > 0
        joined += " " + piece[shared:]
    assert joined.split() == text.split(), "nothing is left out"
    assert repeated > 2, "a short last sentence stands at the head of the next piece again"
    ended = [piece[-1] in ".!?”\"'" for piece in pieces]
    assert sum(ended) > len(ended) / 2


@pytest.mark.parametrize("text", ["x" * 4000, "word " * 900, "🙂" * 300, "a.b." * 500])
def test_texts_without_sentences_are_cut_all_the_same(engine, text):
    pieces = engine._codec.pieces(text)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(len(engine._codec.encode(piece)) <= LIMIT for piece in pieces)
    assert engine.generate([text], Generation(max_new_tokens=4))[0].pieces == len(pieces)


def test_what_happens_to_a_long_text_is_the_callers_choice(engine):
    text = gazette("validation")[0]["document"]
    whole = len(engine._codec.encode(text))
    split, cut = (
        engine.generate([text], Generation(max_new_tokens=12, long_text=choice))[0] for choice in ("split", "truncate")
    )
    assert (split.input_tokens, split.truncated_tokens) == (whole, 0)
    assert split.pieces == len(engine._codec.pieces(text)) > 1
    assert (cut.input_tokens, cut.truncated_tokens, cut.pieces) == (whole, whole - LIMIT, 1)
    with pytest.raises(TextError, match=str(whole)):
        engine.generate([text], Generation(long_text="refuse"))


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_text_without_words_is_refused(engine, text):
    with pytest.raises(TextError, match="empty"):
        engine.generate([text])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 513),
        ("max_new_tokens", True),
        ("max_new_tokens", 3.0),
        ("num_beams", 9),
        ("min_new_tokens", -1),
        ("length_penalty", float("nan")),
        ("repetition_penalty", 0),
        ("early_stopping", "later"),
        ("long_text", "drop"),
    ],
)
def test_a_setting_out_of_bounds_is_named(field, value):
    with pytest.raises(GenerationError) as error:
        Generation(**{field: value})
    assert error.value.field == field
    assert field in str(error.value)


def test_limits_that_clash_are_refused(engine):
    with pytest.raises(GenerationError, match="min_new_tokens"):
        engine.generate(["A text."], Generation(min_new_tokens=9, max_new_tokens=8))


def test_a_cancelled_caller_frees_the_engine(engine):
    async def leave():
        task = asyncio.create_task(engine.summarize(TEXTS[-1], Generation(max_new_tokens=512, min_new_tokens=512)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        began = time.perf_counter()
        await engine.summarize("A short text.", Generation(max_new_tokens=2))
        return time.perf_counter() - began

    whole = time.perf_counter()
    engine.generate([TEXTS[-1]], Generation(max_new_tokens=512, min_new_tokens=512))
    whole = time.perf_counter() - whole
    assert asyncio.run(leave()) < whole / 3


def test_a_failing_batch_fails_its_own_callers_and_no_others(bundle, monkeypatch):
    engine = Engine.load(bundle)
    encode = engine._model.encode

    def broken(ids):
        if len(ids) > 40:
            raise RuntimeError("out of luck")
        return encode(ids)

    monkeypatch.setattr(engine._model, "encode", broken)
    with pytest.raises(EngineError, match="out of luck"):
        engine.generate([TEXTS[-1]], Generation(long_text="truncate"))
    assert engine.generate(["A short text."], Generation(max_new_tokens=4))[0].output_tokens
    engine.close()


def test_beyond_the_bound_a_caller_is_told_when_to_come_back(bundle):
    crowded = Engine.load(bundle, max_waiting_tokens=1000)

    async def crowd():
        jobs = [crowded.summarize(text, Generation(long_text="truncate")) for text in TEXTS * 8]
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = asyncio.run(crowd())
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineFull)]
    assert 0 < len(refused) < len(outcomes)
    assert all(outcome.retry_after >= 1 for outcome in refused)
    assert all(isinstance(outcome, EngineFull | Summary) for outcome in outcomes), "what was accepted is answered"
    crowded.close()


def test_a_deadline_ends_what_waits_and_what_runs(bundle):
    engine = Engine.load(bundle)
    long = Generation(max_new_tokens=512, min_new_tokens=512, no_repeat_ngram_size=1, long_text="truncate")
    began = time.perf_counter()
    running = [engine.submit(TEXTS[-1], long, seconds=0.3) for _ in range(40)]
    for future in running:
        with pytest.raises(DeadlineExceeded):
            future.result(20)
    assert 0.3 <= time.perf_counter() - began < 5
    assert engine.submit("A short text.", Generation(max_new_tokens=3), seconds=20).result(20).output_tokens <= 3
    assert not engine._worker.scheduler.running
    assert not engine._worker._deadlines or not engine._worker._deadlines[0][2], "who was answered is not held"
    engine.close()


def test_callers_who_leave_make_room_at_once(bundle):
    crowded = Engine.load(bundle, rows=8)
    long = Generation(max_new_tokens=512, min_new_tokens=512, long_text="truncate")
    futures = [crowded.submit(TEXTS[-1], long) for _ in range(16)]
    crowded._worker.max_waiting_tokens = 100
    with pytest.raises(EngineFull):
        crowded.submit(TEXTS[-1], long)
    for future in futures:
        future.cancel()
    assert crowded._worker._waiting_tokens == 0
    assert crowded.submit("A short text.", Generation(max_new_tokens=3)).result(20)
    crowded.close()


def test_the_expected_wait_follows_the_measured_rate():
    drain = Drain()
    for _ in range(100):
        drain.add(500, 1.0)
    assert drain.seconds(5000) == pytest.approx(10, rel=0.05)
    assert drain.seconds(1) == 1.0
    for _ in range(100):
        drain.add(5000, 1.0)
    assert drain.seconds(50_000) == pytest.approx(10, rel=0.05)


def test_a_failing_step_fails_those_in_it_and_the_engine_goes_on(bundle, monkeypatch):
    engine = Engine.load(bundle)
    slots = engine._worker.scheduler._slots
    step, calls = slots.step, []

    def broken(tokens):
        calls.append(tokens)
        if len(calls) == 3:
            raise RuntimeError("the cable came loose")
        return step(tokens)

    monkeypatch.setattr(slots, "step", broken)
    with pytest.raises(EngineError, match="the cable came loose"):
        engine.generate([TEXTS[-1]], Generation(max_new_tokens=9, min_new_tokens=9, long_text="truncate"))
    again = engine.generate([TEXTS[3]], Generation(max_new_tokens=9))[0]
    fresh = Engine.load(bundle)
    assert again == fresh.generate([TEXTS[3]], Generation(max_new_tokens=9))[0]
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


def test_threads_are_what_the_container_may_use(tmp_path, monkeypatch):
    from engine import machine

    allowed = len(os.sched_getaffinity(0))
    for content, expected in [("150000 100000\n", min(2, allowed)), ("50000 100000\n", 1), ("max 100000\n", None)]:
        (tmp_path / "cpu.max").write_text(content)
        monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
        found = machine.default_threads()
        assert 1 <= found <= allowed
        assert expected is None or found <= expected


def test_an_engine_nobody_holds_ends_its_thread(bundle):
    forgotten = Engine.load(bundle)
    forgotten.generate(["A text."], Generation(max_new_tokens=2))
    thread = forgotten._worker.thread
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
            engine.generate(TEXTS * 10, Generation(max_new_tokens=512, min_new_tokens=512))
        except EngineClosed as error:
            outcomes.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    engine.close()
    thread.join(20)
    assert len(outcomes) == 1


def test_a_program_that_forgets_to_close_still_ends(bundle):
    code = f"from engine import Engine; e = Engine.load({str(bundle)!r}); print(e.generate(['A text.'])[0].text)"
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
    command = [sys.executable, "-m", "engine", str(bundle)]
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


def test_onnx_runtime_keeps_no_telemetry_identity(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", "import engine"], cwd=ROOT, env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
