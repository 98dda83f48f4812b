"""make gpu-check's harness: parts that resume and fail alone, projections against counted operations, and the page."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as harness
from benchmarks.gpu import parts, report
from benchmarks.gpu.finetune import LIMIT, epoch, lengths, operations
from tests.conftest import ROOT

MACHINE = {
    "card": "NVIDIA H100 80GB HBM3",
    "slug": "nvidia-h100-80gb-hbm3",
    "cores": 16,
    "software": {"torch": "2.11.0"},
}


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(harness, "machine", lambda device: MACHINE)


def check(tmp_path, *chosen: str) -> dict:
    """What the harness leaves of the parts in `chosen`, with its exit status."""
    status = harness.check(list(chosen), "cpu", tmp_path / "scratch", tmp_path, tmp_path / "gpu.md")
    return {"status": status, **json.loads((tmp_path / f"gpu-{MACHINE['slug']}.json").read_text())}


def test_a_part_with_a_result_is_not_measured_again_and_one_that_failed_is(here, monkeypatch, tmp_path):
    asked = []

    def run(part, *_):
        asked.append(part)
        return {"seconds": 1.0, **({"failed": "It broke.", "log": ["why"]} if part == "parity" else {})}

    monkeypatch.setattr(harness, "run", run)
    assert check(tmp_path, "finetune", "parity", "service")["status"] == 1
    told = check(tmp_path, "finetune", "parity", "service", "engine")
    assert asked == ["finetune", "parity", "service", "parity", "engine"]
    assert told["parts"]["parity"]["failed"] == "It broke."
    # Figures of another software are begun anew.
    monkeypatch.setattr(harness, "machine", lambda device: {**MACHINE, "software": {"torch": "2.13.0"}})
    assert check(tmp_path, "service")["parts"].keys() == {"service"}


def test_a_run_that_is_killed_leaves_what_was_measured_and_goes_on(here, monkeypatch, tmp_path):
    def killed(part, *_):
        if part == "parity":
            raise KeyboardInterrupt
        return {"seconds": 1.0}

    monkeypatch.setattr(harness, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, "finetune", "parity")
    monkeypatch.setattr(harness, "run", lambda part, *_: {"seconds": 2.0})
    told = check(tmp_path, "finetune", "parity")
    assert {part: row["seconds"] for part, row in told["parts"].items()} == {"finetune": 1.0, "parity": 2.0}


@pytest.mark.parametrize(
    ("program", "limit", "row"),
    [
        ("print('x\\nwhy'); raise SystemExit(3)", 60, {"failed": "It ended with status 3.", "log": ["x", "why"]}),
        ("import time; print('begun', flush=True); time.sleep(99)", 3, {"failed": "It was stopped after 3 s."}),
        ("print('No such library.'); raise SystemExit(4)", 60, {"skipped": "No such library."}),
        ("print('all went well')", 60, {}),
    ],
)
def test_what_a_part_came_to_is_told_with_what_it_had_found(monkeypatch, tmp_path, program, limit, row):
    started = subprocess.Popen
    kept = f"import pathlib; pathlib.Path({str(tmp_path / 'engine.json')!r}).write_text('[7]')\n"
    monkeypatch.setattr(
        parts.subprocess, "Popen", lambda command, **given: started([sys.executable, "-c", kept + program], **given)
    )
    began = time.monotonic()
    told = parts.run("engine", "cpu", tmp_path, limit)
    assert time.monotonic() - began < 30
    assert told["found"] == [7]
    assert row.items() <= told.items()
    assert ("failed" in told) == ("failed" in row)


def test_an_interrupted_part_and_its_page_keep_what_was_found_and_the_part_ends_what_it_started(
    here, monkeypatch, tmp_path
):
    # A part with a child that an ordinary SIGTERM to the group would end first, which the part would tell as a failure.
    program = f"""
import json, os, pathlib, signal, subprocess, sys, time
from benchmarks.gpu import parts
signal.signal(signal.SIGTERM, parts._stop)
child = subprocess.Popen(["sleep", "99"])
place = pathlib.Path({str(tmp_path / "scratch" / "steps.json")!r})
found = {{"source_tokens": 1, "new_tokens": 1, "steps": 1, "microseconds": {{"fp16": {{"1": 7}}}}}}
place.write_text(json.dumps(found))
os.kill(os.getppid(), signal.SIGINT)
try:
    time.sleep(99)
except parts.Stopped:
    time.sleep(0.5)
    alive = child.poll() is None
    place.write_text(json.dumps(found | {{"child": child.pid, "alive": alive}}))
"""
    started = subprocess.Popen
    monkeypatch.setattr(
        parts.subprocess, "Popen", lambda command, **given: started([sys.executable, "-c", program], **given)
    )
    monkeypatch.setattr(harness, "git_commit", lambda: None)  # which starts a process, too
    # Whoever starts the suite in the background may have it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        told = check(tmp_path, "steps", "service")
    finally:
        signal.signal(signal.SIGINT, before)
    assert told["status"] == 130
    assert told["parts"].keys() == {"steps"}
    row = told["parts"]["steps"]
    assert row["failed"] == parts.INTERRUPTED
    assert row["found"]["alive"]
    assert (
        not Path(f"/proc/{row['found']['child']}/cmdline").exists()
        or not Path(f"/proc/{row['found']['child']}/cmdline").read_bytes()
    )
    assert "| fp16 | 7 |" in (tmp_path / "gpu.md").read_text()


def test_lengths_are_like_those_of_xsum_and_an_epoch_is_projected_from_samples():
    documents, summaries = zip(*lengths(20_000), strict=True)
    assert max(documents) == LIMIT
    assert sum(documents) / 20_000 == pytest.approx(430, abs=5)
    assert sum(summaries) / 20_000 == pytest.approx(27, abs=0.5)
    assert epoch(204_045 / 60) == pytest.approx(1.0)


def test_operations_of_a_training_step_are_those_that_pytorch_counts():
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune.recipe import Lora
    from finetune.training.model import add_adapter

    document, summary, lora = 96, 32, Lora()
    config = T5Config(decoder_start_token_id=0, vocab_size=2048, d_model=256, d_kv=32, d_ff=512, num_layers=3)
    network = add_adapter(T5ForConditionalGeneration(config), lora)
    ids = torch.randint(2, 2000, (1, document)), torch.randint(2, 2000, (1, summary))
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids[0], labels=ids[1], use_cache=False).loss.backward()
    # The lowest layers' inputs take no gradient, which is no more than a few hundredths here.
    assert operations(config, lora.rank, document, summary) == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_the_page_shows_every_part_and_says_what_is_missing():
    link = {
        "link": "merged = ONNX fp16", "documents": 64, "identical_summaries": 63, "ties": 1, "passed": True,
        "max_abs_logit_difference": 0.0123,
    }  # fmt: skip
    way = {"batch": 64, "compile": True, "fused": True, "workers": 4}
    figures = {
        "samples_per_second": 2345.6, "tokens_per_second": 1_000_001, "peak_share": 0.234, "peak_mib": 9000,
        "warm_up_s": 61.0, "epoch_minutes": 1.4,
    }  # fmt: skip
    placement = {"decoder_model_merged.onnx": {"CUDAExecutionProvider": {"MatMul": 49, "Add": 3}}}
    bundle = {"links": [link], "node_placement": placement, "on_the_device": {**link, "link": "PyTorch = ONNX fp16"}}
    found = {
        "finetune": {"matrix": 8192, "matrix_tflops": 701.2, "ways": [{**way, **figures}, {**way, "failed": "OOM"}]},
        "parity": {
            "models": {"models/base": {"fp16": bundle, "failed": "fp32 differs."}},
            "refusals": {"no card": {"refused": True, "said": "No such device."}},
        },
        "engine": {
            "source_tokens": 400, "new_tokens": 64, "rounds": 5, "failed": {"CTranslate2 fp16": "not installed"},
            "rates": {"Precis fp16": {"1": 12.3, "128": 456.7}, "PyTorch fp16": {"1": 3.0}},
            "mixed": {"PyTorch fp16": {"requests_per_second": 99.0}},
        },
        "steps": {
            "source_tokens": 400, "new_tokens": 64, "steps": 200,
            "microseconds": {"fp16, replayed": {"1": 498, "128": 1041}},
        },
    }  # fmt: skip
    rows = {part: {"seconds": 9.0, "command": "c", "commit": "abc", "found": told} for part, told in found.items()}
    rows["service"] = {"seconds": 1.0, "command": "c", "commit": None, "skipped": "bentoml is not installed."}
    page = report.card({"machine": MACHINE, "parts": rows})
    for line in (
        "## NVIDIA H100 80GB HBM3",
        "| 64 | yes | yes | 4 | 2,346 | 1,000,001 | 23.4% | 9,000 | 1.4 | 61.0 |",
        "| 64 | yes | yes | 4 | OOM | – | – | – | – | – |",
        "| models/base | fp16 | PyTorch = ONNX fp16 | 1.2e-02 | 63 of 64, ties 1 | yes |",
        "| models/base | fp16 | decoder_model_merged.onnx | CUDAExecutionProvider | 52 | 49 MatMul, 3 Add |",
        "| no card | yes | No such device. |",
        "| Precis fp16 | 12.3 | 457 |",
        "| PyTorch fp16 | 3.0 | – |",
        "| fp16, replayed | 498 | 1,041 |",
        "- CTranslate2 fp16 is left out: not installed",
        "Not measured: bentoml is not installed.",
    ):
        assert line in page.splitlines(), line
    for block in page.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block
    # Part of a part is shown, and what somebody has to say of it.
    rows["steps"]["failed"] = "It was stopped after 9 s."
    page = report.card({"machine": MACHINE, "parts": rows, "notes": {"steps": "A word.", "card": "Another."}})
    lines = page.splitlines()
    assert {"It was stopped after 9 s. What there was by then:", "A word.", "| fp16, replayed | 498 | 1,041 |"} < {
        *lines
    }
    assert lines.index("Another.") < lines.index("### The engine beside its peers") < lines.index("A word.")
    # A part alone is a page, too.
    assert page.count("Not measured.") == 0
    assert report.card({"machine": MACHINE, "parts": {}}).count("Not measured.") == 5


def test_a_machine_without_a_card_is_told_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("PyTorch sees no NVIDIA GPU here")
