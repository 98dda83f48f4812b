"""Ray's actor without Ray: windows and job arrive pickled, parts leave as Arrow rows."""

import pickle

import pandas as pd
import pyarrow as pa
import pytest

from precis import GenerationParams
from precis.bulk.feeder import process
from precis.bulk.formats import Columns, make_format
from precis.bulk.job import BulkJob, Checkpoint, Part
from precis.bulk.ray_cluster import Summarizer
from precis.bulk.sources import find_inputs
from precis.params import TrustParams
from tests.support.bulk import TEXTS


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_actor_returns_what_one_machine_writes(suffix, tmp_path, bundle):
    source = tmp_path / f"in{suffix}"
    frame = pd.DataFrame({"id": range(20), "document": [*TEXTS[:19], ""]})
    if suffix == ".parquet":
        frame.to_parquet(source)
    else:
        frame.to_json(source, orient="records", lines=True)
    row_format = make_format(suffix[1:], Columns("document", "summary"))
    row_format.check(sources := find_inputs([str(source)]).sources)
    job = BulkJob(sources, row_format, None, bundle, "cpu", 1, GenerationParams(max_new_tokens=6), TrustParams())
    batch = pa.table({"window": [pickle.dumps(window) for window in job.windows(Checkpoint())]})
    actor = Summarizer(pickle.loads(pickle.dumps(job)))
    parts = [Part(**row) for table in actor(batch) for row in table.to_pylist()]
    assert parts == list(process(job, Checkpoint(), lambda *_: None))
    assert sum(part.written for part in parts) == 19
