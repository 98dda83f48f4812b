"""The parity report of a tiny chain: its JSON, its text, and the sentence of a failure."""

import json
from pathlib import Path

import pytest

from export.parity.report import explain, summarize, write_report
from precis.bundle.reports import ParityReport
from tests.export.parity.test_comparison import SUMMARIES, StubSystem, compare


@pytest.fixture
def links():
    pytorch, fp32 = StubSystem("merged", SUMMARIES, [[1, 2]]), StubSystem("ONNX fp32", SUMMARIES, [[1, 2]])
    int8 = StubSystem("ONNX int8", [*SUMMARIES[:2], "Nothing."], [[1, 2.1]])
    return [compare(pytorch, fp32, exact=True), compare(fp32, int8, exact=False)]


def test_report_takes_its_figures_from_the_overall_link_and_limits_from_the_last(links, tmp_path):
    report = write_report(links, links[1], "tiny, int8", tmp_path)
    content = report.model_dump(mode="json", exclude_unset=True)
    assert ParityReport.model_validate_json(json.dumps(content, allow_nan=False)) == report
    assert (content["passed"], content["documents"], content["identical_summaries"]) == (False, 3, 2)
    assert content["onnx"]["rougeL"] < content["pytorch"]["rougeL"] == 100
    assert "tolerance" not in content
    assert (content["rouge_tolerance"], content["max_divergence"], content["max_logit"]) == (0.5, 0.02, 2)
    assert [link["link"] for link in content["links"]] == ["merged = ONNX fp32", "ONNX fp32 = ONNX int8"]
    assert (tmp_path / "parity.png").stat().st_size > 1000
    text = (tmp_path / "parity.md").read_text()
    assert "# Parity of tiny, int8" in text
    assert "**Failed.**" in text
    assert "Nothing." in text
    assert "single characters in Chinese" in text
    assert "Allowed: the same summaries, and logits within 1e-04 of the largest." in text
    assert (
        "Allowed: at least 85% equal next tokens; a divergence of 0.02 nats; a ROUGE difference of 0.5 points" in text
    )


def test_failure_names_the_comparison_its_documents_and_the_report(links):
    sentence = explain(links, Path("parity.md"))
    assert sentence.startswith("Parity failed at ONNX fp32 = ONNX int8: rouge1 differs by -")
    assert sentence.endswith("(most on documents 2); no bundle was written, see parity.md.")


def test_summary_has_a_line_for_each_link(links):
    lines = summarize(links).splitlines()
    assert lines[0].startswith("merged = ONNX fp32: 3 of 3 summaries identical, 0 ties")
    assert len(lines) == 2
