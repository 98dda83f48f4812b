"""A bulk run without a model: a stub engine whose summaries are the texts backwards."""

from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import pytest

from precis import GenerationParams, Summary
from precis.bulk.command import summarize_files
from precis.bulk.formats import Columns
from precis.bulk.job import BulkJob
from tests.support.bulk import lines


class Backwards:
    """Stands for an engine: any text, however odd, in a summary."""

    def submit(self, text: str, _: GenerationParams) -> Future:
        future: Future = Future()
        future.set_result(Summary(text[::-1], [1], 1, 1, 1, 0, "end"))
        return future

    def close(self) -> None:
        pass


class Done(NamedTuple):
    """What a run left: its output file, its rejects, and its last sentence."""

    out: Path
    rejects: list[dict]
    said: str


@pytest.fixture(scope="session")
def stub_run(tmp_path_factory):
    """A function that summarizes files to an output of a given name, each time in a new folder."""
    bundle = tmp_path_factory.mktemp("stub")
    (bundle / "manifest.json").write_text("{}")

    def run(inputs: list, name: str, document: str = "document", folder: Path | None = None) -> Done:
        out = (folder or tmp_path_factory.mktemp("out")) / name
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BulkJob, "load_engine", lambda self: Backwards())
            said = summarize_files(
                list(map(str, inputs)),
                str(out),
                bundle,
                columns=Columns(document, "summary"),
                generation=GenerationParams(),
            )
        rejects = Path(f"{out}.rejects.jsonl")
        return Done(out, lines(rejects) if rejects.exists() else [], said)

    return run
