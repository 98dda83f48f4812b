"""The public front: order, settings, closing, and the bundles that it refuses."""

import asyncio
import gc
import json
import shutil
import subprocess
import sys
import threading
import time

import pytest

from precis import BundleError, Engine, EngineClosed, GenerationParams, TextError, TooMuchWork
from tests.conftest import ROOT, gazette
from tests.support.engines import SETTINGS, TEXTS, reference, seal


def test_more_texts_than_rows_keep_their_order(engine):
    texts = [f"Number {i} came to the fair and won the prize for the best marrow." for i in range(40)]
    together = engine.generate(texts, GenerationParams(max_new_tokens=8))
    assert together == [engine.generate([text], GenerationParams(max_new_tokens=8))[0] for text in texts]


def test_requests_with_different_settings_share_a_batch(pair):
    model, tokenizer, engine = pair

    async def summarize_all():
        tasks = [
            engine.summarize(text, GenerationParams(**settings, long_text="truncate"))
            for text, settings in zip(TEXTS, SETTINGS, strict=False)
        ]
        return await asyncio.gather(*tasks)

    for text, settings, summary in zip(TEXTS, SETTINGS, asyncio.run(summarize_all()), strict=False):
        assert summary.token_ids == reference(model, tokenizer, text, settings)[0]


def test_settings_of_the_bundle_are_the_defaults(bundle, tmp_path):
    changed = shutil.copytree(bundle, tmp_path / "changed")
    config = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps({**config, "max_new_tokens": 7, "num_beams": 2}))
    seal(changed)
    with Engine.load(changed) as engine:
        text = TEXTS[5]
        assert engine.generate([text]) == engine.generate([text], GenerationParams(max_new_tokens=7, num_beams=2))
        assert engine.generate([text], GenerationParams(max_new_tokens=3))[0].output_tokens <= 3


def test_cache_memory_is_logged(bundle, int8_bundle, caplog):
    with caplog.at_level("INFO", "precis.engine"):
        for folder in (bundle, int8_bundle):
            Engine.load(folder, threads=2, rows=16).close()
    # Keys and values of each layer: a row has 528 positions, a source 128 (two blocks), of 4 bytes or 1.
    config = json.loads((bundle / "config.json").read_text())
    width = config["num_decoder_layers"] * 2 * config["num_heads"] * config["d_kv"]
    for record, size in zip(caplog.records, (4, 1), strict=True):
        row, source = width * 528 * size / 1e6, width * 128 * size / 1e6
        total = 16 * (row + source)
        expected = f"2 threads, KV cache of 16 texts in 16 rows of {row:.1f} MB, at most {total:.0f} MB"
        assert record.getMessage() == expected


def test_garbage_collected_engine_ends_its_thread(bundle):
    engine = Engine.load(bundle)
    engine.generate(["A text."], GenerationParams(max_new_tokens=2))
    thread = engine._scheduler.thread
    del engine
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_engine_is_closed_at_the_end_of_a_with_block(bundle):
    with Engine.load(bundle) as engine:
        assert engine.generate(["A text."], GenerationParams(max_new_tokens=2))
        thread = engine._scheduler.thread
    assert not thread.is_alive()
    with pytest.raises(EngineClosed):
        engine.generate(["A text."])


def test_error_in_a_with_block_closes_the_engine_and_is_raised(bundle):
    with pytest.raises(ZeroDivisionError), Engine.load(bundle) as engine:
        raise ZeroDivisionError
    with pytest.raises(EngineClosed):
        engine.submit("A text.")


def test_closing_fails_unfinished_requests(bundle):
    engine = Engine.load(bundle)
    errors = []

    def generate():
        try:
            engine.generate(TEXTS * 10, GenerationParams(max_new_tokens=512, min_new_tokens=512))
        except EngineClosed as error:
            errors.append(error)

    thread = threading.Thread(target=generate)
    thread.start()
    time.sleep(0.5)
    engine.close()
    thread.join(20)
    assert len(errors) == 1


def test_program_that_does_not_close_its_engine_ends(bundle):
    code = f"from precis import Engine; e = Engine.load({str(bundle)!r}); print(e.generate(['A text.'])[0].text)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_text_whose_chunks_cannot_be_prefilled_in_time_is_refused_before_it_is_encoded(bundle):
    text = " ".join(row["document"] for row in gazette("train")[:200])
    with Engine.load(bundle) as engine:
        began = time.thread_time()
        engine._tokenizer.encode(text)
        encoding = time.thread_time() - began
        assert abs(engine._tokenizer.estimate_tokens(text) / len(engine._tokenizer.encode(text)) - 1) < 0.1
        engine._scheduler._backlog.costs.prefill.add(1000, 100)  # measured: ten tokens a second
        for params, is_refused in ((GenerationParams(), True), (GenerationParams(long_text="truncate"), False)):
            refusing = time.process_time()
            try:
                summary = asyncio.run(engine.summarize(text, params, timeout=60))
            except TooMuchWork:
                summary = None
                assert time.process_time() - refusing < encoding / 2
            assert (summary is None) == is_refused
            assert is_refused or summary.truncated_tokens


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model_merged.onnx", "tokenizer.json", "config.json"])
def test_changed_byte_is_refused_by_file_name(bundle, tmp_path, name):
    changed = shutil.copytree(bundle, tmp_path / "changed")
    content = bytearray((changed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (changed / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Engine.load(changed)


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "is empty"), (float("nan"), "is not a string"), (b"bytes", "is not a string"), ("a \ud800", "surrogate")],
)
def test_what_is_no_text_is_refused_and_named(text, words, engine):
    with pytest.raises(TextError, match=rf"texts\[1\] .*{words}"):
        engine.generate(["A text.", text])
    for params in (GenerationParams(), GenerationParams(passthrough=False)):
        with pytest.raises(TextError, match=f"The text .*{words}"):
            engine.submit(text, params)
    if isinstance(text, str):
        with pytest.raises(TextError, match=words):  # of a length whose tokens are estimated first
            asyncio.run(engine.summarize(text * 50_000, GenerationParams(mode="write", passthrough=False), timeout=60))


def test_texts_come_from_any_iterable_but_a_string(engine):
    texts = ["A text.", "Another text."]
    assert [summary.text for summary in engine.generate(text for text in texts)] == texts
    with pytest.raises(TypeError, match="a list of strings"):
        engine.generate(texts[0])


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_above_0_is_refused_and_the_engine_works_on(weight, engine):
    with pytest.raises(ValueError, match="weight should be above 0"):
        engine.submit(TEXTS[0], weight=weight)
    assert engine.submit(TEXTS[0], GenerationParams(max_new_tokens=3)).result(60)
    assert not engine.failed


def test_incomplete_bundle_is_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        Engine.load(tmp_path / "nowhere")
    part = shutil.copytree(bundle, tmp_path / "part")
    (part / "encoder_model.onnx").unlink()
    with pytest.raises(BundleError, match=r"encoder_model\.onnx is missing"):
        Engine.load(part)
    (part / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON"):
        Engine.load(part)
    changed = shutil.copytree(bundle, tmp_path / "changed")
    seal(changed, format=1)
    with pytest.raises(BundleError, match="format 1"):
        Engine.load(changed)
    outside = json.loads((bundle / "manifest.json").read_text())
    outside["files"]["../secret"] = "0"
    (changed / "manifest.json").write_text(json.dumps(outside))
    with pytest.raises(BundleError, match="outside the bundle"):
        Engine.load(changed)


def test_bundle_that_asks_for_an_unsupported_search_is_refused(bundle, tmp_path):
    changed = shutil.copytree(bundle, tmp_path / "changed")
    config = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps({**config, "do_sample": True, "num_beam_groups": 2}))
    seal(changed)
    with pytest.raises(BundleError, match="do_sample=True"):
        Engine.load(changed)
