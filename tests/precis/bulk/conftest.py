"""Fixtures of bulk runs: a tiny bundle, its own summaries, small windows."""

from pathlib import Path

import pytest

from precis import Engine, GenerationParams
from precis.bulk import job
from precis.bulk.command import summarize_files
from precis.bulk.formats import Columns
from precis.params import TrustParams
from tests.support.bulk import TEXTS, Backwards, Done, lines


@pytest.fixture(scope="session")
def bundle(tiny_run) -> str:
    return str(tiny_run / "bundle")


@pytest.fixture(scope="session")
def expected(bundle) -> dict[str, str]:
    """The engine's own summary of every text."""
    engine = Engine.load(bundle, threads=2)
    summaries = engine.generate(TEXTS, GenerationParams(max_new_tokens=6))
    engine.close()
    assert len({summary.text for summary in summaries}) > 5
    return {text: summary.text for text, summary in zip(TEXTS, summaries, strict=True)}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Several windows even of a few rows."""
    monkeypatch.setattr(job, "WINDOW_ROWS", 7)


@pytest.fixture(scope="session")
def stub_run(tmp_path_factory):
    """A function that summarizes files to an output of a given name, each time in a new folder."""
    bundle = tmp_path_factory.mktemp("stub")
    (bundle / "manifest.json").write_text("{}")

    def run(inputs: list, name: str, folder: Path | str | None = None, engine=Backwards) -> Done:
        out = f"{folder or tmp_path_factory.mktemp('out')}/{name}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job.BulkJob, "load_engine", lambda self: engine())
            report = summarize_files(
                list(map(str, inputs)),
                out,
                bundle,
                columns=Columns("document", "summary"),
                generation=GenerationParams(),
                trust=TrustParams(),
            )
        rejects = Path(f"{out}.rejects.jsonl")
        return Done(Path(out), lines(rejects) if rejects.exists() else [], report)

    return run
