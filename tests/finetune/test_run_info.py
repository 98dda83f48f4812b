"""run.json: written and read by one typed model, with one sentence for a folder that holds no run."""

import json

import pytest

from finetune.errors import UserError
from finetune.run_info import RunInfo, read_rouge, read_run, write_run


def test_run_json_survives_reading_and_writing(tiny_run, tmp_path):
    content = json.loads((tiny_run / "run.json").read_text())
    info = read_run(tiny_run)
    write_run(info, tmp_path)
    assert json.loads((tmp_path / "run.json").read_text()) == content
    assert info == RunInfo.model_validate_json((tiny_run / "run.json").read_text())
    assert (info.data.train_pairs, info.recipe.lora.rank) == (40, 4)


def test_keys_of_another_version_are_kept(tiny_run, tmp_path):
    content = json.loads((tiny_run / "run.json").read_text()) | {"energy": "3 Wh"}
    (tmp_path / "run.json").write_text(json.dumps(content))
    write_run(read_run(tmp_path), tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["energy"] == "3 Wh"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "run.json is missing"),
        ("{", "its run.json is not valid JSON"),
        ("{}", "run.json: recipe: Field required"),
    ],
)
def test_folder_without_a_valid_run_is_reported_in_one_sentence(tmp_path, text, words):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_run(tmp_path)
    assert "\n" not in str(error.value)


def test_rouge_json_has_its_scores(tiny_run):
    rouge = read_rouge(tiny_run)
    assert rouge.documents == 24
    assert {kind: len(interval) for kind, interval in rouge.finetuned.ci95.items()} == {
        "rouge1": 2,
        "rouge2": 2,
        "rougeL": 2,
        "rougeLsum": 2,
    }
