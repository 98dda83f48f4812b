"""The engine benchmark: rates and ratios by hand, and systems that take turns."""

import pytest

from benchmarks import turns
from benchmarks.engine import cpu_figures, missing_batches, rates

SYSTEMS = ("Precis int8", "Precis fp32", "CTranslate2 int8", "CTranslate2 fp32", "Optimum fp32", "PyTorch fp32")


def test_rates_and_ratios_by_hand():
    answers = {name: {8: [{"seconds": 4.0 + i, "inside": 3.0}, {"seconds": 2.0}]} for i, name in enumerate(SYSTEMS)}
    answers["Precis int8"][8][1] |= {"seconds": 1.0, "inside": 0.9}
    answers["Precis fp32"][8][1]["inside"] = 1.5
    greedy = rates(answers, min)
    assert greedy["Precis int8"] == {"8": 8.0}
    assert greedy["PyTorch fp32"] == {"8": 4.0}
    assert rates(answers, max)["Precis int8"] == {"8": 2.0}
    figures = cpu_figures(answers, greedy, "")
    assert figures["outside_onnxruntime"] == {"Precis int8": {"8": pytest.approx(0.1)}, "Precis fp32": {"8": 0.25}}
    assert figures["ratio_to_ctranslate2_int8"] == figures["ratio_to_pytorch"] == {"8": 2.0}
    assert figures["ratio_to_ctranslate2_fp32"] == {"8": 1.0}
    int8 = {name: row for name, row in answers.items() if "int8" in name}
    figures = cpu_figures(int8, rates(int8, min), "_beams4")
    assert figures == {"outside_onnxruntime_beams4": {"Precis int8": {"8": pytest.approx(0.1)}}} | {
        "ratio_to_ctranslate2_int8_beams4": {"8": 2.0}
    }


def test_systems_take_turns_and_a_failing_one_is_taken_out(monkeypatch):
    order = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def ask(self, *command: object) -> dict[str, float]:
            order.append((self.name, command[1]))
            if self.name == "b" and command[1] == 2:
                raise turns.SystemFailed("out of memory")
            return {"seconds": 1.0}

    monkeypatch.setattr(turns, "PAUSE", 0.0)
    systems, failed, kept = [Fake("a"), Fake("b")], {}, []
    answers = turns.take_turns(systems, (1, 2), (10, 4, 1), 2, failed, lambda answers: kept.append(len(answers["a"])))
    assert order == [("a", 1), ("b", 1), ("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 2)]
    assert {name: {batch: len(rounds) for batch, rounds in row.items()} for name, row in answers.items()} == {
        "a": {1: 2, 2: 2},
        "b": {1: 2},
    }
    assert failed == {"b": "out of memory"}
    assert [system.name for system in systems] == ["a"]
    assert kept == [1, 1, 2, 2]
    order.clear()
    answers = turns.take_turns(systems, (2,), (10, 4, 1), 1, failed, kept.append, warm_up=2)
    assert order == [("a", 2)] * 3
    assert len(answers["a"][2]) == 1


def test_batch_is_measured_again_if_a_system_lacks_it():
    rows = {"a": {"1": 3.0, "8": 5.0}, "b": {"1": 2.0}}
    assert missing_batches(rows, ["a", "b"], (1, 8, 32)) == [8, 32]
    assert missing_batches(rows, ["a"], (1, 8)) == []
