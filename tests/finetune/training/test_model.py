"""Loading a T5 with its tokenizer, and adding an adapter."""

import json
import math
import shutil

import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import AutoTokenizer

from finetune.__main__ import main
from finetune.errors import UserError
from finetune.recipe import Lora, Model
from finetune.training.model import add_adapter, load_base, load_config, load_tokenizer


@pytest.mark.parametrize(("rslora", "scaling"), [(False, 8 / 16), (True, 8 / math.sqrt(16))])
def test_rslora_scales_by_the_square_root_of_the_rank(tiny_base, rslora, scaling):
    network, _ = load_base(Model(name=str(tiny_base)))
    model = add_adapter(network, Lora(rank=16, alpha=8.0, rslora=rslora))
    scalings = {layer.scaling["default"] for layer in model.modules() if isinstance(layer, LoraLayer)}
    assert scalings == {scaling}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_qlora_without_a_gpu_is_reported_in_one_sentence(tiny_recipe, tmp_path, capsys):
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", "model.load_in_4bit=true"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("model.load_in_4bit: QLoRA needs an NVIDIA GPU")
    assert not list(tmp_path.iterdir())


def test_model_that_is_not_a_t5_is_refused(tiny_recipe, tmp_path, capsys):
    from transformers import BartConfig

    BartConfig().save_pretrained(tmp_path / "bart")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'bart'}"]) == 1
    assert "bart" in capsys.readouterr().err


def test_configuration_that_runs_code_of_another_repository_is_refused(tmp_path):
    """CVE-2026-5241: transformers loads the configuration that this one names, and trusts its code."""
    model, other, marker = tmp_path / "model", tmp_path / "other", tmp_path / "marker"
    for folder in (model, other):
        folder.mkdir()
    (other / "code.py").write_text(
        f"open({str(marker)!r}, 'w')\nfrom transformers import PretrainedConfig\nclass C(PretrainedConfig):\n    pass\n"
    )
    (other / "config.json").write_text(json.dumps({"model_type": "other", "auto_map": {"AutoConfig": "code.C"}}))
    nested = {"model_type": "other", "_name_or_path": str(other)}
    content = {"model_type": "lightglue", "trust_remote_code": True, "keypoint_detector_config": nested}
    (model / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is a lightglue, and Precis trains T5"):
        load_config(Model(name=str(model)))
    assert not marker.exists()


def test_attention_code_named_by_a_configuration_is_refused(tiny_base, tmp_path):
    """CVE-2026-4372: transformers would download and run it if the package `kernels` is installed."""
    content = json.loads((tiny_base / "config.json").read_text()) | {"_attn_implementation_internal": "owner/code"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="sets _attn_implementation_internal"):
        load_config(Model(name=str(tmp_path)))


def test_chat_templates_of_a_tokenizer_are_not_saved(tiny_base, tmp_path):
    """CVE-2026-9856: their names could lead out of the folder."""
    model = tmp_path / "run/model"
    shutil.copytree(tiny_base, model)
    path = model / "tokenizer_config.json"
    templates = [{"name": name, "template": "x"} for name in ("default", "../../escaped")]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": templates}))
    load_tokenizer(model, "model.name").save_pretrained(tmp_path / "run/saved")
    assert [each.name for each in tmp_path.rglob("*.jinja")] == []


@pytest.mark.parametrize("kind", ["bert", "swapped"])
def test_tokenizer_of_another_model_is_refused(tiny_base, tiny_recipe, tmp_path, capsys, kind):
    shutil.copytree(tiny_base, tmp_path / "model")
    if kind == "bert":
        from transformers import BertTokenizerFast

        for path in (tmp_path / "model").glob("*token*"):
            path.unlink()
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    else:
        tokenizer = AutoTokenizer.from_pretrained(tiny_base)
        tokenizer.eos_token = "<pad>"
        tokenizer.save_pretrained(tmp_path / "model")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'model'}"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("model.name: ")
    assert "tokenizer" in sentence
