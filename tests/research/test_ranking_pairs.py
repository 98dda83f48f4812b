"""The pairs that teach a choice: what stands for a summary, and what is left out."""

import json

from research.ranking.__main__ import main
from tests.conftest import gazette, write_jsonl


def gather(tmp_path, rows, *overrides) -> list[dict]:
    write_jsonl(tmp_path / "set.jsonl", rows)
    recipe = tmp_path / "pairs.yaml"
    recipe.write_text(
        f"""
folder: {tmp_path}
output: {tmp_path}/pairs
sets: {{news: {{file: set.jsonl, rows: 1000}}}}
"""
    )
    assert main([str(recipe), *overrides]) == 0
    splits = [(tmp_path / f"pairs/{split}.jsonl").read_text().splitlines() for split in ("train", "validation")]
    return [json.loads(line) for lines in splits for line in lines]


def test_pairs_keep_their_summaries_and_evaluation_text_is_left_out(tmp_path, capsys):
    rows = gazette("train")[:30]
    pairs = gather(tmp_path, rows)
    assert 15 <= len(pairs) <= 30
    summaries = {row["document"]: row["summary"] for row in rows}
    assert all(summaries[pair["document"]] == pair["summary"] for pair in pairs)
    write_jsonl(tmp_path / "evaluation.jsonl", rows[:10])
    fewer = gather(tmp_path, rows, f"decontaminate_against=['{tmp_path}/evaluation.jsonl']")
    kept = {row["document"] for row in rows[10:]}
    assert {pair["document"] for pair in fewer} == {pair["document"] for pair in pairs} & kept
    assert "evaluation 10" in capsys.readouterr().out.splitlines()[-1]


def test_lead_becomes_the_summary_and_leaves_the_document(tmp_path):
    first = "OSLO, Norway – The ferry to Holm will stop on Sundays because its crew is too small, the county said."
    second = "The county said the ferry crew is too small for the boat to Holm on Sundays. "
    rest = "Nobody asked the people who live there. Tea was served on the quay. It rained for many hours that day."
    document = f"{first} {second}{rest}"
    (pair,) = gather(tmp_path, [{"document": document}], "sets.news.reference=lead")
    assert pair["summary"] == first.removeprefix("OSLO, Norway – ")
    assert pair["document"] == second + rest
    assert not gather(tmp_path, [{"document": first + " Short."}], "sets.news.reference=lead")


def test_unreadable_set_is_one_sentence(tmp_path, capsys):
    (tmp_path / "pairs.yaml").write_text(f"{{folder: {tmp_path}, sets: {{news: {{file: gone.jsonl, rows: 3}}}}}}")
    assert main([str(tmp_path / "pairs.yaml")]) == 1
    assert "gone.jsonl" in capsys.readouterr().err
