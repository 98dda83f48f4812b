"""The weights file that both graphs share."""

from transformers import AutoModelForSeq2SeqLM

from precis.bundle.names import WEIGHTS
from tests.export.support import INPUTS
from tests.support.models import exported, tiny_t5


def test_tied_embedding_is_stored_once_for_both_graphs(tmp_path):
    model = tiny_t5(tmp_path / "model", "v1.0")
    parameters = sum(p.numel() for p in AutoModelForSeq2SeqLM.from_pretrained(model).parameters())
    for name, calibration, size in (("fp32", None, 4), ("int8", INPUTS, 1)):
        (tmp_path / name).mkdir()
        folder = exported(model, tmp_path / name, calibration)
        # Scales and the empty rest of pages come on top.
        assert parameters * size <= (folder / WEIGHTS).stat().st_size <= parameters * size * 1.25 + 40 * 4096
