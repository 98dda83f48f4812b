"""Fixtures of the export's tests."""

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from tests.support.models import tiny_t5


@pytest.fixture
def overflowing(tmp_path):
    """A T5 whose feed-forward layers pass through values beyond fp16, as the public ones do, and come back."""
    folder = tiny_t5(tmp_path / "overflowing", "v1.1")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        for block in (model.encoder.block[1], model.decoder.block[0]):
            block.layer[-1].DenseReluDense.wi_1.weight.mul_(3e5)
            block.layer[-1].DenseReluDense.wo.weight.div_(3e5)
    model.save_pretrained(folder)
    return folder
