"""Fixtures of bulk runs: a tiny bundle, its own summaries, small windows."""

import pytest

from precis import Engine, GenerationParams
from precis.bulk import job
from tests.support.bulk import TEXTS


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
