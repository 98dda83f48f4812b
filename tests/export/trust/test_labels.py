"""Labels: what a file of judged summaries may hold, and that verdicts take the place of the automatic check."""

import json

import pytest

from export.trust import labels
from export.trust.certificate import MIN_PAIRS, certify, measure_judged
from export.trust.check import CHECK
from export.trust.labels import JudgedSummary, read_labels
from finetune.errors import UserError
from precis import GenerationParams
from tests.conftest import ROOT, gazette, write_jsonl

ROW = {"document": "The pool is closed. It will open in May.", "summary": "The pool is closed."}


def test_rows_without_a_label_are_left_out(tmp_path):
    rows = [
        ROW | {"label": 1},
        ROW,
        ROW | {"label": None},
        ROW | {"label": ""},
        ROW | {"label": "0"},
        ROW | {"label": 0},
    ]
    judged = read_labels(write_jsonl(tmp_path / "judged.jsonl", rows))
    assert [item.is_right for item in judged] == [True, False, False]
    assert judged[0] == JudgedSummary(ROW["document"], ROW["summary"], True)


def test_the_example_of_the_documentation_can_be_read(tmp_path):
    example = (ROOT / "docs/trust.md").read_text(encoding="utf-8").split("```jsonl\n")[1].split("```")[0]
    (tmp_path / "judged.jsonl").write_text(example, encoding="utf-8")
    assert [(item.summary, item.is_right) for item in read_labels(tmp_path / "judged.jsonl")] == [
        ("The pool is closed.", True),
        ("Clara Lowe won the race.", False),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1 of .* is not valid JSON"),
        ('{"document": "a", "label": 1}', "line 1 of .* lacks a text in document or summary"),
        (json.dumps(ROW | {"label": 2}), "line 1 of .* has the label 2; it should be 1"),
        (json.dumps(ROW), "has no row with a label"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "judged.jsonl").write_text(content + "\n")
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / "judged.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "missing.jsonl")


def test_verdicts_on_what_the_bundle_makes_take_the_place_of_the_check(engine):
    """The automatic check would find other summaries wrong than those that are judged so here: every second one."""
    rows = gazette("validation")[: MIN_PAIRS + 4]
    documents, references = [row["document"][:250] for row in rows], [row["summary"] for row in rows]
    summaries = engine.generate(documents, GenerationParams(mode="write"))
    judged = [
        JudgedSummary(text, made.text, bool(i % 2))
        for i, (text, made) in enumerate(zip(documents, summaries, strict=True))
    ]
    values, wrong = measure_judged(engine, judged, "write")
    assert wrong.tolist() == [i % 2 == 0 for i, made in enumerate(summaries) if made.score is not None]
    assert values
    other = [JudgedSummary(item.document, "Something else.", True) for item in judged]
    assert measure_judged(engine, other, "write")[0] == []
    by_people = certify(engine, [], [], "write", judged)
    assert (by_people is None) == (len(values) < MIN_PAIRS)
    assert by_people is None or by_people.check == labels.CHECK
    by_check = certify(engine, documents, references, "write", other)
    assert by_check is not None
    assert by_check.check == CHECK
