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

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from engine import (
    BundleError,
    Engine,
    EngineClosed,
    EngineError,
    EngineFull,
    Generation,
    GenerationError,
    Summary,
    TextError,
)
from engine.bundle import sha256
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
    content = {"format": 1, "prefix": "summarize: ", "max_input_tokens": LIMIT, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "base"])
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


def test_beyond_the_bound_a_caller_is_told_when_to_come_back(bundle, monkeypatch):
    import engine.worker

    monkeypatch.setattr(engine.worker, "MAX_WAITING_TOKENS", 1000)
    crowded = Engine.load(bundle)

    async def crowd():
        jobs = [crowded.summarize(text, Generation(long_text="truncate")) for text in TEXTS * 8]
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = asyncio.run(crowd())
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineFull)]
    assert 0 < len(refused) < len(outcomes)
    assert all(outcome.retry_after >= 1 for outcome in refused)
    assert all(isinstance(outcome, EngineFull | Summary) for outcome in outcomes), "what was accepted is answered"
    crowded.close()


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
    seal(own, format=2)
    with pytest.raises(BundleError, match="format 2"):
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
