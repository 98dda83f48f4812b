"""Bulk extraction: every format adds the places of the sentences, whoever asks for extraction."""

import json
import shutil

import pandas as pd
import pytest

from precis import Engine, GenerationParams
from tests.support.bulk import ADDED, bulk, lines
from tests.support.engines import seal

TEXTS = [
    f"The fair in village {i} was opened on Monday by the oldest baker of the valley. "
    "It rained  all day long, and the hay was wet before noon. Then the sun came out."
    for i in range(9)
]


@pytest.fixture(scope="module")
def extracts(bundle) -> list[tuple[str, list[dict]]]:
    with Engine.load(bundle, threads=1) as engine:
        summaries = engine.generate(TEXTS, GenerationParams(mode="extract", sentences=2))
    return [(summary.text, [vars(item) for item in summary.extracted or []]) for summary in summaries]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_places_of_the_sentences_are_a_column(tmp_path, bundle, extracts, suffix):
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    frame = pd.DataFrame({"document": TEXTS})
    write = {".csv": lambda: frame.to_csv(source, index=False), ".parquet": lambda: frame.to_parquet(source)}
    write.get(suffix, lambda: frame.to_json(source, orient="records", lines=True))()
    assert bulk(source, out, "--bundle", bundle, "--mode", "extract", "--sentences", "2") == 0
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    output = read.get(suffix, lambda path: pd.read_json(path, lines=True, precise_float=True))(out)
    assert list(output.columns) == ["document", *ADDED, "extracted"]
    for row, (text, places) in zip(output.to_dict("records"), extracts, strict=True):
        extracted = json.loads(row["extracted"]) if suffix == ".csv" else list(row["extracted"])
        assert (row["summary"], extracted) == (text, places)
        assert text.split(". ")[0] in " ".join(row["document"].split())


def test_column_follows_the_bundles_own_mode(tmp_path, bundle, extracts):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"mode": "extract", "sentences": 2}))
    seal(folder, max_input_tokens=64)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"document": text}) + "\n" for text in TEXTS))
    assert bulk(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--bundle", folder) == 0
    rows = lines(tmp_path / "out.jsonl")
    assert [(row["summary"], row["extracted"]) for row in rows] == extracts
    assert bulk(tmp_path / "in.jsonl", tmp_path / "written.jsonl", "--bundle", folder, "--mode", "write") == 0
    assert "extracted" not in lines(tmp_path / "written.jsonl")[0]
