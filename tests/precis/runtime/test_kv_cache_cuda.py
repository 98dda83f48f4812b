"""The KV cache of static graphs, on the CPU: capacities, and rows that move while they decode."""

import json
import shutil

import pytest

from precis import Engine, GenerationParams
from precis.bundle.names import CACHE
from precis.bundle.verify import open_bundle
from precis.errors import BundleError
from precis.params import resolve
from precis.runtime.kv_cache_cuda import capacities
from precis.runtime.model import Seq2SeqModel
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import LIMIT, TEXTS, seal


@pytest.mark.parametrize(
    ("max_positions", "expected"),
    [(20, [64]), (64, [64]), (65, [64, 128]), (512, [64, 128, 256, 512]), (600, [64, 128, 256, 512, 640])],
)
def test_capacities_double_up_to_the_largest(max_positions, expected):
    assert capacities(max_positions) == expected


def test_capacities_grow_while_sequences_decode(static_bundle):
    """A short text and beams are running when longer texts come, for more tokens; one finishes, and rows move."""
    bundle = open_bundle(static_bundle)
    model, tokenizer = Seq2SeqModel(bundle, "cpu", 1), TextTokenizer.load(bundle)

    def sequence(text: str, **settings) -> Sequence:
        params = GenerationParams(**{"max_new_tokens": 20, "min_new_tokens": 20, **settings})
        input_ids = tokenizer.truncate(tokenizer.encode(text))
        return Sequence(input_ids, resolve(params, bundle.generation_config), lambda: False)

    def sequences() -> list[Sequence]:
        short, long = TEXTS[0][:30], " ".join(TEXTS)
        return [
            sequence(short),
            sequence(short, num_beams=3),
            sequence(short, min_new_tokens=1, max_new_tokens=7),
            sequence(long, max_new_tokens=150, min_new_tokens=140),
            sequence(long, num_beams=4, max_new_tokens=70),
        ]

    batch, together = RunningBatch(model, 16, LIMIT), sequences()
    assert not batch.admit(together[:3])
    sizes = []
    while batch.sequences:
        batch.step()
        batch.compact_if_sparse()
        sizes.append((batch.kv_cache.self_kv.capacity, batch.kv_cache.cross_kv.capacity))
        if len(sizes) in (5, 12):
            assert not batch.admit([together[3 if len(sizes) == 5 else 4]])
    assert [*dict.fromkeys(sizes)] == [(64, 64), (256, 128)]
    for one, alone in zip(together, sequences(), strict=True):
        single = RunningBatch(model, 16, LIMIT)
        single.admit([alone])
        while single.sequences:
            single.step()
        assert one.token_ids == alone.token_ids


def test_bundle_with_a_broken_block_copy_graph_is_refused(static_bundle, tmp_path):
    broken = shutil.copytree(static_bundle, tmp_path / "broken")
    (broken / CACHE).write_bytes(b"nothing")
    seal(broken)
    with pytest.raises(BundleError, match=r"cache\.onnx cannot be loaded"):
        Engine.load(broken)
    assert CACHE in json.loads((broken / "manifest.json").read_text())["files"]
