"""Graphs of fixed shapes and the slots that keep their caches on a device, here the CPU, against transformers."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from precis import Engine, GenerationParams
from precis.bundle.names import CACHE, DECODER
from precis.bundle.verify import open_bundle
from precis.errors import BundleError
from precis.params import resolve
from precis.runtime.kv_cache import Prefill
from precis.runtime.kv_cache_cuda import new_kv_cache, rooms
from precis.runtime.model import Seq2SeqModel
from precis.scheduling.running_batch import RunningBatch, Sequence
from precis.text.tokenizer import TextTokenizer
from tests.conftest import ROOT, exported, tiny_t5
from tests.support.engines import LIMIT, ODD, SETTINGS, TEXTS, reference, seal


@pytest.fixture(scope="module", params=["v1.1", "base"])
def pair(request, tmp_path_factory):
    """A model in PyTorch with its tokenizer, and the engine on its bundle for GPUs."""
    folder = tmp_path_factory.mktemp("fixed")
    source = ROOT / "models/base" if request.param == "base" else tiny_t5(folder / "model", request.param)
    engine = Engine.load(exported(source, folder, static=True), threads=1)
    yield AutoModelForSeq2SeqLM.from_pretrained(source).eval(), AutoTokenizer.from_pretrained(source), engine
    engine.close()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_batch_says_what_transformers_says_of_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    for text, summary in zip(
        texts, engine.generate(texts, GenerationParams(**settings, long_text="truncate")), strict=True
    ):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)


def test_rows_grow_in_both_directions_while_they_run(fixed):
    """A short text and beams are under way when longer ones come, for more tokens; one leaves, and rows move."""
    bundle = open_bundle(fixed)
    model, codec = Seq2SeqModel(bundle, "cpu", 1), TextTokenizer.load(bundle)

    def job(text, **settings):
        settings = {"max_new_tokens": 20, "min_new_tokens": 20, **settings}
        return Sequence(
            codec.cut(codec.encode(text)),
            resolve(GenerationParams(**settings), bundle.generation_config),
            lambda: False,
        )

    def jobs():
        short, long = TEXTS[0][:30], " ".join(TEXTS)
        return [
            *(job(short), job(short, num_beams=3), job(short, min_new_tokens=1, max_new_tokens=7)),
            *(job(long, max_new_tokens=150, min_new_tokens=140), job(long, num_beams=4, max_new_tokens=70)),
        ]

    scheduler, together = RunningBatch(model, 16, LIMIT), jobs()
    assert not scheduler.admit(*together[:3])
    sizes = []
    while scheduler.running:
        scheduler.step()
        scheduler.tidy()
        sizes.append((scheduler._slots._own.room, scheduler._slots._cross.room))
        if len(sizes) in (5, 12):
            assert not scheduler.admit(together[3 if len(sizes) == 5 else 4])
    assert [*dict.fromkeys(sizes)] == [(64, 64), (256, 128)]
    for done, single in zip(together, jobs(), strict=True):
        alone = RunningBatch(model, 16, LIMIT)
        alone.admit(single)
        while alone.running:
            alone.step()
        assert done.tokens == single.tokens


@pytest.mark.parametrize("vocabulary", [8101, 8190, 80000])
def test_the_graph_takes_the_first_of_the_largest_logits(tmp_path, vocabulary):
    """Whether or not the vocabulary falls into parts; two tokens that are alike have the same logit."""
    source = tiny_t5(tmp_path / "like", "v1.0")
    config = AutoModelForSeq2SeqLM.from_pretrained(source).config
    config.vocab_size = vocabulary
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(config)
    with torch.no_grad():
        half = vocabulary // 2
        model.shared.weight[half : 2 * half] = model.shared.weight[:half].clone()
    model.save_pretrained(source)
    slots = new_kv_cache(
        Seq2SeqModel(open_bundle(exported(source, tmp_path, static=True)), "cpu", 1), 8, 20, repeated=False
    )
    rows = slots.take(5)
    assert slots.start([Prefill(rows[i : i + 1], [5 + i, 9, 1], 4) for i in range(5)]) == [None] * 5
    for _ in range(3):
        logits = slots.step(np.arange(0, 500, 100)[:, None])[:5, 0]
        assert slots.best.tolist() == logits.argmax(-1).tolist()
        slots.past_length[rows] += 1


def test_no_operator_of_a_step_computes_a_shape(fixed):
    """Such operators run on the CPU, and a step with them cannot be captured as a CUDA graph."""
    graph = onnx.load(fixed / DECODER, load_external_data=False).graph
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {
        "Shape",
        "Size",
        "Range",
        "Slice",
        "Expand",
        "ConstantOfShape",
        "Concat",
        "NonZero",
        "If",
        "Loop",
    }
    assert not any(node.domain for node in graph.node)


@pytest.mark.parametrize(
    ("longest", "expected"),
    [(20, [64]), (64, [64]), (65, [64, 128]), (512, [64, 128, 256, 512]), (600, [64, 128, 256, 512, 640])],
)
def test_rooms_double_up_to_the_longest(longest, expected):
    assert rooms(longest) == expected


def test_a_bundle_without_what_moves_its_caches_is_refused(fixed, tmp_path):
    own = shutil.copytree(fixed, tmp_path / "own")
    (own / CACHE).write_bytes(b"nothing")
    seal(own)
    with pytest.raises(BundleError, match=r"cache\.onnx cannot be loaded"):
        Engine.load(own)
    assert CACHE in json.loads((own / "manifest.json").read_text())["files"]
