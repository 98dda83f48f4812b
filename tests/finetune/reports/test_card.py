"""The model card and the samples of a run."""

import json

import yaml

from finetune.reports.card import write_card, write_samples
from finetune.run_info import read_rouge, read_run
from precis.bundle.reports import TrustCertificate


def test_card_states_what_the_run_measured(tiny_run):
    text = (tiny_run / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    info, rouge = (json.loads((tiny_run / name).read_text()) for name in ("run.json", "rouge.json"))
    assert "base_model" not in metadata, "the hub refuses the path of a folder"
    assert metadata["pipeline_tag"] == "summarization"
    for system in ("lead", "base", "finetuned"):
        low, high = rouge[system]["ci95"]["rougeL"]
        assert f"{rouge[system]['rougeL']:.2f} [{low:.2f}, {high:.2f}]" in body
    for fact in (
        "40 training pairs",
        "24 validation pairs",
        info["hardware"],
        "| lora.rank | 4 |",
        "MiB",
        "single characters in Chinese, Japanese, Thai, Lao, Khmer and Burmese.",
        "## Limits",
    ):
        assert fact in body, fact
    for folder in ("adapter", "merged"):
        assert (tiny_run / folder / "README.md").read_text() == text


def test_metadata_name_a_base_of_the_hub(tiny_run, tmp_path):
    info = read_run(tiny_run)
    base = info.base_model.model_copy(update={"name": "google-t5/t5-small", "sha256": None})
    write_card(info.model_copy(update={"base_model": base}), read_rouge(tiny_run), tmp_path)
    _, front, _ = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == "google-t5/t5-small"


def test_card_of_a_certified_run_has_the_shares_of_wrong_summaries(embedded, tmp_path):
    level = {"alpha": 0.2, "max_risk": 0.3, "released": 0.92, "wrong": 0.106}
    nothing = {"alpha": 0.1, "max_risk": None, "released": 0.0, "wrong": None}
    certificate = TrustCertificate(
        mode="write",
        check="wrong: told by hand",
        method="by hand",
        confidence=0.9,
        fitted_pairs=62,
        calibration_pairs=123,
        wrong=0.18,
        weights={},
        bias=0.0,
        levels=[nothing, level],
        curve=[(0.5, 0.1), (1.0, 0.18)],
    )
    write_card(
        read_run(embedded),
        read_rouge(embedded),
        tmp_path,
        [certificate, certificate.model_copy(update={"mode": "extract"})],
    )
    text = (tmp_path / "README.md").read_text()
    section = text.split("## Trust, mode `write`\n")[1].split("## Trust, mode `extract`\n")[0]
    assert text.split("## Trust, mode `extract`\n")[1].split("## Limits")[0].strip() == section.strip()
    assert "123 validation pairs" in section
    for row in ("| 10% | 0% | – |", "| 20% | 92% | 10.6% |", "| 50% | 10.0% |", "| 100% | 18.0% |"):
        assert row in section.splitlines(), row


def test_samples_are_sorted_from_largest_loss_to_largest_gain(tmp_path):
    references = [f"the old bridge number {i} closes" for i in range(30)]
    base = [text if i % 3 == 0 else "nothing alike" for i, text in enumerate(references)]
    finetuned = [text if i % 3 == 1 else "nothing alike" for i, text in enumerate(references)]
    documents = [f"Document {i} with a | in it." for i in range(30)]
    write_samples(documents, base, finetuned, references, tmp_path)
    page = (tmp_path / "samples.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert len(headings) == 10
    assert (headings[0], headings[-1]) == ("## ROUGE-L 100.0 → 0.0", "## ROUGE-L 0.0 → 100.0")
    first = page.split("## ")[1]
    number = first.split("Document ")[1].split()[0]
    assert f"| reference | the old bridge number {number} closes |" in first
    assert f"| base | the old bridge number {number} closes |" in first
    assert "| fine-tuned | nothing alike |" in first
