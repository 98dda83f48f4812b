"""The page docs/gpu.md: every part, what is missing, and the results that are in the repository."""

import json

from benchmarks import gpu_page
from tests.benchmarks.test_gpu import MACHINE
from tests.conftest import ROOT


def test_page_shows_every_part_and_what_is_missing():
    link = {
        "link": "merged = ONNX fp16", "documents": 64, "identical_summaries": 63, "ties": 1, "passed": True,
        "max_abs_logit_difference": 0.0123,
    }  # fmt: skip
    variant = {"batch": 64, "compile": True, "fused": True, "workers": 4}
    figures = {
        "samples_per_second": 2345.6, "tokens_per_second": 1_000_001, "peak_share": 0.234, "peak_mib": 9000,
        "warm_up_s": 61.0, "epoch_minutes": 1.4,
    }  # fmt: skip
    latencies = {"p50_s": 0.2, "p95_s": 0.5, "requests_per_second": 77.0}
    results = {
        "finetune": {
            "matrix": 8192, "matrix_tflops": 701.2, "variants": [{**variant, **figures}, {**variant, "failed": "OOM"}],
        },
        "parity": {"seconds": 61.2, "peak_mib": 4321, "links": {"fp16": [link]}},
        "engine": {
            "source_tokens": 400, "new_tokens": 64, "rounds": 5, "failed": {"CTranslate2 fp16": "not installed"},
            "greedy": {"Precis fp16": {"1": 12.3, "128": 456.7}, "PyTorch fp16": {"1": 3.0}},
        },
        "mixed": {
            "mixed_load": {
                "requests_per_second": 99, "continuous": latencies, "static": latencies, "first_token": latencies,
            },
        },
    }  # fmt: skip
    rows = {
        part: {"seconds": 9.0, "command": "c", "commit": "abc", "results": result} for part, result in results.items()
    }
    rows["service"] = {"seconds": 1.0, "command": "c", "commit": None, "skipped": "bentoml is not installed."}
    page = gpu_page.device_section({"machine": MACHINE, "parts": rows})
    for line in (
        "## NVIDIA H100 80GB HBM3",
        "| 64 | yes | yes | 4 | 2,346 | 1,000,001 | 23.4% | 9,000 | 1.4 | 61.0 |",
        "| 64 | yes | yes | 4 | OOM | – | – | – | – | – |",
        "| fp16 | merged = ONNX fp16 | 1.2e-02 | 63 of 64, ties 1 | yes |",
        "| Precis fp16 | 12.3 | 457 |",
        "| PyTorch fp16 | 3.0 | – |",
        "| static batches | 77.0 | 0.2 | 0.5 |",
        "| first token, all streamed | 77.0 | 0.2 | 0.5 |",
        "- CTranslate2 fp16 is left out: not installed",
        "Not measured: bentoml is not installed.",
    ):
        assert line in page.splitlines(), line
    for block in page.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block
    # A stopped part is shown with its results, and notes of the authors.
    rows["mixed"]["failed"] = "It was stopped after 9 s."
    page = gpu_page.device_section(
        {"machine": MACHINE, "parts": rows, "notes": {"mixed": "A word.", "device": "Other."}}
    )
    lines = page.splitlines()
    assert {"It was stopped after 9 s. Results until then:", "A word.", "| static batches | 77.0 | 0.2 | 0.5 |"} < {
        *lines
    }
    assert lines.index("Other.") < lines.index("### Parity of models/base on Gazette") < lines.index("A word.")
    assert page.count("Not measured.") == 0
    assert gpu_page.device_section({"machine": MACHINE, "parts": {}}).count("Not measured.") == 5


def test_page_in_the_repository_is_made_of_the_results_in_the_repository(tmp_path):
    gpu_page.write_page(ROOT / "benchmarks/results", tmp_path / "gpu.md")
    assert (tmp_path / "gpu.md").read_text() == (ROOT / "docs/gpu.md").read_text()
    h100 = json.loads((ROOT / "benchmarks/results/gpu-nvidia-h100-80gb-hbm3.json").read_text())
    for name, row in h100["parts"]["engine"]["results"]["greedy"].items():
        assert f"| {name} | {row['1']}" in (tmp_path / "gpu.md").read_text()
