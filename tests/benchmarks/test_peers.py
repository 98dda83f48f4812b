"""The systems that take turns: our engine's clock, and a process that serves commands or fails."""

import json
import time

import pytest

from benchmarks import peers, turns
from benchmarks.peers import Precis, Setup


class OneBundle(Setup):
    """A setup whose only bundle is `folder`."""

    def bundle(self, precision: str, limit: int = 512):
        return self.folder


def test_onnxruntime_seconds_are_part_of_a_run(bundle):
    began = time.perf_counter()
    system = Precis(OneBundle(bundle, "cpu", 1), "fp32")
    assert system.run([[3, 10, 11, 12, 1], [3, 13, 1]], new=5, beams=1) == [5, 5]
    assert 0 < system.onnxruntime_seconds() < time.perf_counter() - began
    system.engine.close()


def test_token_ids_and_words_are_those_of_the_benchmark_tokenizer():
    (ids,) = peers.token_ids(1, 20)
    assert len(ids) == 20
    assert (ids[0], ids[-1]) == (3, peers.END)
    assert [peers.word(token) for token in (0, 1, 2, 17)] == ["<pad>", "</s>", "<unk>", "w17"]


def test_system_that_cannot_be_loaded_is_reported_and_taken_out(tmp_path):
    system = turns.System("Precis fp32", Setup(tmp_path, "cpu", 1, "tiny"))
    systems, failed = [system], {}
    try:
        assert turns.attempt(system, systems, failed, "load") is None
        assert systems == []
        assert failed["Precis fp32"].startswith("BundleError: There is no bundle folder")
    finally:
        system.close()


def test_system_that_writes_another_number_of_tokens_is_an_error():
    class Short:
        def run(self, inputs, new, beams):
            return [new - 1] * len(inputs)

    with pytest.raises(RuntimeError, match="another number of tokens"):
        turns.time_batch(Short(), 2, 10, 4, 1)


def test_setup_travels_to_the_process_of_a_system(tmp_path, capsys, monkeypatch):
    setup = Setup(tmp_path, "cpu", 2, "tiny", 8)
    monkeypatch.setattr(turns, "load_peer", lambda name, given: (_ for _ in ()).throw(RuntimeError(f"{name} {given}")))
    monkeypatch.setattr("sys.stdin", [json.dumps(["load"])])
    turns.serve("Precis fp32", setup)
    assert json.loads(capsys.readouterr().out)["failed"].startswith("RuntimeError: Precis fp32 Setup(folder=")
