"""Models and tokenizers in the form in which transformers 5 saves them, read with transformers 4."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.training.attention import IS_TRANSFORMERS_5
from finetune.training.model import load_tokenizer, load_weights
from tests.conftest import ROOT
from tests.support.engines import ODD
from tests.support.models import tiny_t5

pytestmark = pytest.mark.skipif(IS_TRANSFORMERS_5, reason="reads its own files")


def edit(path: Path, changes: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@torch.no_grad()
def logits(model) -> torch.Tensor:
    ids = torch.arange(20, 30)[None]
    return model.eval()(input_ids=ids, labels=ids.flip(1)).logits


@pytest.mark.parametrize("has_head", [True, False])
@pytest.mark.parametrize("shape", ["v1.0", "v1.1", "mt5"])
def test_model_computes_the_same_logits(tmp_path, shape, has_head):
    folder = tiny_t5(tmp_path / "model", shape)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    if not has_head:
        model.lm_head.weight.data = model.shared.weight.data.clone()
    expected = logits(model)

    weights = load_file(folder / "model.safetensors")
    if not has_head:
        weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    scaling = {} if shape == "mt5" else {"scale_decoder_outputs": shape == "v1.0"}
    edit(folder / "config.json", {"tie_word_embeddings": True, "transformers_version": "5.24.0", **scaling})
    loaded = load_weights(folder, "model.name")
    assert torch.equal(logits(loaded), expected)
    loaded.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "merged")), expected)


@pytest.mark.parametrize("kind", ["TokenizersBackend", "T5Tokenizer"])
def test_tokenizer_gives_the_same_tokens(tmp_path, kind):
    base = ROOT / "models/base"
    expected = AutoTokenizer.from_pretrained(base)
    shutil.copy(base / "tokenizer.json", tmp_path)
    settings = {
        "backend": "tokenizers",
        "eos_token": "</s>",
        "extra_ids": 64,
        "extra_special_tokens": expected.additional_special_tokens,
        "pad_token": "<pad>",
        "tokenizer_class": kind,
        "unk_token": "<unk>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    actual = load_tokenizer(tmp_path, "model.name")
    text = f"{ODD} the  council <extra_id_3>"
    ids = expected(text).input_ids
    assert actual(text).input_ids == ids
    assert actual.decode(ids, skip_special_tokens=True) == expected.decode(ids, skip_special_tokens=True)
    assert actual.special_tokens_map == expected.special_tokens_map
    actual.save_pretrained(tmp_path / "merged")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")(text).input_ids == ids
