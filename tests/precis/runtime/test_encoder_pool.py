"""The encoder pool uses the faster strategy, and its results are in order and equal whichever that is."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from precis.bundle.verify import open_bundle
from precis.runtime.encoder_pool import EXPLORE_EVERY, MEASUREMENTS, EncoderPool
from precis.runtime.model import Seq2SeqModel
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import TEXTS

SECONDS = 0.004


class SlowEncoder:
    """Encodes in SECONDS, in another thread than its creator's in `slowdown` times that; counts the latter texts."""

    def __init__(self, slowdown: float) -> None:
        self.slowdown, self.in_parallel, self._creator = slowdown, 0, threading.current_thread()

    def encode(self, input_ids: list[int]) -> list[np.ndarray]:
        if input_ids[0] < 0:
            raise ValueError(f"no token {input_ids[0]}")
        in_parallel = threading.current_thread() is not self._creator
        self.in_parallel += in_parallel
        time.sleep(SECONDS * (self.slowdown if in_parallel else 1))
        return [np.array(input_ids)]


@pytest.mark.parametrize(("slowdown", "parallel_is_faster"), [(1.0, True), (6.0, False)])
def test_faster_strategy_is_used_and_the_other_tried_again(slowdown, parallel_is_faster):
    encoder = SlowEncoder(slowdown)
    pool = EncoderPool(encoder.encode, encoder.encode, 2)
    for _ in range(2 * MEASUREMENTS):
        pool([[1], [2]])
    assert encoder.in_parallel >= MEASUREMENTS, "both strategies were measured"
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
    encode = SlowEncoder(1.0).encode
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
