"""Texts are encoded the way that is faster here, and come out in order whichever that is."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from precis.bundle.verify import open_bundle
from precis.runtime.encoder_pool import REMEMBERED, TRIED_EVERY, EncoderPool
from precis.runtime.model import Seq2SeqModel
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import TEXTS

SECONDS = 0.004


class Machine:
    """Encodes in SECONDS, `together` times that in another thread than its maker's; counts the texts encoded there."""

    def __init__(self, together: float) -> None:
        self.together, self.met, self._caller = together, 0, threading.current_thread()

    def encode(self, ids: list[int]) -> list[np.ndarray]:
        if ids[0] < 0:
            raise ValueError(f"no token {ids[0]}")
        company = threading.current_thread() is not self._caller
        self.met += company
        time.sleep(SECONDS * (self.together if company else 1))
        return [np.array(ids)]


@pytest.mark.parametrize(("together", "side_by_side"), [(1.0, True), (6.0, False)])
def test_the_faster_way_is_found_and_the_other_tried_again(together, side_by_side):
    machine = Machine(together)
    read = EncoderPool(machine.encode, machine.encode, 2)
    for _ in range(2 * REMEMBERED):
        read([[1], [2]])
    assert machine.met >= REMEMBERED  # both ways were measured
    machine.met, tried = 0, 0
    for call in range(2 * REMEMBERED + 1, TRIED_EVERY + 1):
        before = machine.met
        assert [found[0].tolist() for found in read([[1], [2]])] == [[1], [2]]
        if call == TRIED_EVERY:
            tried = machine.met - before
        else:
            assert (machine.met > before) is side_by_side
    assert (tried > 0) is not side_by_side


@pytest.mark.parametrize("threads", [1, 2])
def test_a_text_that_fails_fails_alone(threads):
    encode = Machine(1.0).encode
    read = EncoderPool(encode, encode, threads)
    for texts in ([[-1]], [[1], [-2], [3]]):
        found = read(texts)
        assert [str(one) if isinstance(one, Exception) else one[0].tolist() for one in found] == [
            f"no token {ids[0]}" if ids[0] < 0 else ids for ids in texts
        ]


def test_a_text_read_beside_others_has_the_same_numbers(rounded):
    """By one thread of a session of its own, or by all of the threads of another."""
    bundle = open_bundle(rounded)
    model, codec = Seq2SeqModel(bundle, "cpu", 2), TextTokenizer.load(bundle)
    texts = [codec.truncate(codec.encode(text)) for text in TEXTS]
    assert len({len(text) for text in texts}) > 5
    assert model.lone_encoder is not model.encoder
    with ThreadPoolExecutor(3) as pool:
        beside = [*pool.map(model.encode_beside_others, texts)]
    for text, found in zip(texts, beside, strict=True):
        for one, other in zip(found, model.encode(text), strict=True):
            np.testing.assert_array_equal(one, other)
