"""The encoder pool uses the faster strategy, and its results are in order and equal whichever that is."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from precis.bundle.verify import open_bundle
from precis.runtime import encoder_pool as module
from precis.runtime.encoder_pool import EXPLORE_EVERY, MEASUREMENTS, EncoderPool
from precis.runtime.model import Seq2SeqModel
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import TEXTS

THREADS = 2


class Encoder:
    """Moves its clock on by a second a text; by `parallel` in threads other than its creator's."""

    def __init__(self, parallel: float) -> None:
        self.parallel, self.in_parallel, self.clock = parallel, 0, 0.0
        self._creator, self._lock = threading.current_thread(), threading.Lock()

    def encode(self, input_ids: list[int]) -> list[np.ndarray]:
        if input_ids[0] < 0:
            raise ValueError(f"no token {input_ids[0]}")
        in_parallel = threading.current_thread() is not self._creator
        with self._lock:
            self.in_parallel += in_parallel
            self.clock += self.parallel if in_parallel else 1.0
        return [np.array(input_ids)]


@pytest.mark.parametrize(("parallel", "parallel_is_faster"), [(0.5, True), (3.0, False)])
def test_faster_strategy_is_used_and_the_other_tried_again(monkeypatch, parallel, parallel_is_faster):
    encoder = Encoder(parallel)
    monkeypatch.setattr(module.time, "perf_counter", lambda: encoder.clock)
    pool = EncoderPool(encoder.encode, encoder.encode, THREADS)
    for _ in range(2 * MEASUREMENTS):
        pool([[1], [2]])
    assert encoder.in_parallel == THREADS * MEASUREMENTS, "both strategies were measured"
    explored = 0
    for call in range(2 * MEASUREMENTS + 1, EXPLORE_EVERY + 1):
        before = encoder.in_parallel
        assert [outputs[0].tolist() for outputs in pool([[1], [2]])] == [[1], [2]]
        if call == EXPLORE_EVERY:
            explored = encoder.in_parallel - before
        else:
            assert (encoder.in_parallel > before) is parallel_is_faster
    assert (explored > 0) is not parallel_is_faster


@pytest.mark.parametrize("threads", [1, 2])
def test_failing_text_does_not_fail_the_others(threads):
    encode = Encoder(1.0).encode
    pool = EncoderPool(encode, encode, threads)
    for texts in ([[-1]], [[1], [-2], [3]]):
        results = pool(texts)
        assert [str(one) if isinstance(one, Exception) else one[0].tolist() for one in results] == [
            f"no token {input_ids[0]}" if input_ids[0] < 0 else input_ids for input_ids in texts
        ]


def test_encoding_in_parallel_gives_the_same_values(int8_bundle):
    bundle = open_bundle(int8_bundle)
    model, tokenizer = Seq2SeqModel(bundle, "cpu", 2), TextTokenizer.load(bundle)
    texts = [tokenizer.truncate(tokenizer.encode(text)) for text in TEXTS]
    assert len({len(text) for text in texts}) > 5
    assert model.parallel_encoder is not model.encoder
    with ThreadPoolExecutor(3) as executor:
        in_parallel = [*executor.map(model.encode_in_parallel, texts)]
    for text, outputs in zip(texts, in_parallel, strict=True):
        for one, other in zip(outputs, model.encode(text), strict=True):
            np.testing.assert_array_equal(one, other)
