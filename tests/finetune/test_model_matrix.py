"""The models that people have: which are trained, exported and served, and the sentence that refuses the others."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    ByT5Tokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from export.__main__ import main as export
from finetune.__main__ import main
from finetune.recipe import Model
from finetune.recipe_io import read_recipe
from finetune.training.attention import IS_TRANSFORMERS_5
from finetune.training.model import load_base, load_tokenizer
from finetune.training.preconditions import check_model, check_tokenizer
from precis.text.tokenizer import TextTokenizer
from tests.conftest import ROOT, gazette
from tests.support.models import tiny_t5

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "mt5"])
def original(request, tmp_path_factory) -> Path:
    """A tied model (v1.0), or an untied one with gated layers."""
    return tiny_t5(tmp_path_factory.mktemp("matrix") / "model", request.param)


@pytest.fixture
def tiny(tiny_base, tmp_path) -> Path:
    """A copy of the tiny v1.0 model, to be changed."""
    return shutil.copytree(tiny_base, tmp_path / "model")


def stored_as(original: Path, folder: Path, form: str) -> Path:
    """The model as others store it; `original` remains."""
    shutil.copytree(original, folder)
    (folder / WEIGHTS).unlink()
    model = AutoModelForSeq2SeqLM.from_pretrained(original, dtype=torch.float32)
    if form == "fp16":
        model.half()
    model.save_pretrained(folder, max_shard_size="100KB" if form == "sharded" else "5GB")
    if form == "no ids in generation_config.json":
        (folder / "generation_config.json").write_text(json.dumps({"max_length": 200}))
    if form == "search parameters in config.json":
        config = json.loads((folder / "config.json").read_text())
        config |= {"num_beams": 1, "length_penalty": 2.0, "early_stopping": True, "max_length": 200}
        (folder / "config.json").write_text(json.dumps(config))
    if form == "cuts and pads on the left":
        AutoTokenizer.from_pretrained(original, padding_side="left", truncation_side="left").save_pretrained(folder)
    return folder


FORMS = [
    *("one file", "sharded", "fp16", "no ids in generation_config.json", "search parameters in config.json"),
    "cuts and pads on the left",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_of_a_supported_model_is_read(original, tiny_recipe, tmp_path, form):
    folder = stored_as(original, tmp_path / "model", form)
    assert (form == "sharded") == (not (folder / WEIGHTS).exists())
    check_model(read_recipe(tiny_recipe, [f"model.name={folder}"]))
    model, tokenizer = load_base(Model(name=str(folder)))
    expected = AutoModelForSeq2SeqLM.from_pretrained(original).state_dict()
    for name, values in model.state_dict().items():
        assert values.dtype == torch.float32
        assert torch.equal(values, expected[name].half().float() if form == "fp16" else expected[name]), name
    ids = model.generation_config
    assert (ids.decoder_start_token_id, ids.pad_token_id, ids.eos_token_id) == (0, 0, 1)
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("right", "right")
    model.generation_config = GenerationConfig(num_beams=3, max_new_tokens=7, decoder_start_token_id=0)
    model.save_pretrained(tmp_path / "saved")
    saved = GenerationConfig.from_pretrained(tmp_path / "saved")
    assert (saved.num_beams, saved.max_new_tokens) == (3, 7)
    defaults = GenerationConfig()
    assert (saved.length_penalty, saved.max_length) == (defaults.length_penalty, defaults.max_length)


@pytest.mark.slow  # a run and an export each
@pytest.mark.parametrize("form", ["sharded", "fp16"])
def test_supported_model_is_trained_and_exported(original, tiny_recipe, tmp_path, form):
    folder, run = stored_as(original, tmp_path / "model", form), tmp_path / "run"
    assert main([str(tiny_recipe), f"output={run}", f"model.name={folder}", "training.precision=fp32"]) == 0
    assert export([str(run), "--precision", "fp32", "--accept-worse"]) == 0
    assert json.loads((run / "bundle/parity.json").read_text())["passed"]


def rename(folder: Path, change) -> None:
    """Renames the weights by `change`; None drops one."""
    weights = {change(name): values for name, values in load_file(folder / WEIGHTS).items()}
    weights.pop(None, None)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def remade(folder: Path, **settings) -> None:
    """A random model of the same kind with some settings changed."""
    config = T5Config.from_pretrained(folder)
    config.update(settings)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def without_start(folder: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text())
        content.pop("decoder_start_token_id", None)
        (folder / name).write_text(json.dumps(content))


def byt5(folder: Path) -> None:
    for path in [*folder.glob("*token*"), *folder.glob("spiece*")]:
        path.unlink()
    ByT5Tokenizer().save_pretrained(folder)


def umt5(folder: Path) -> None:
    UMT5ForConditionalGeneration(UMT5Config(**json.loads((folder / "config.json").read_text()))).save_pretrained(folder)


def reshaped(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = "encoder.block.0.layer.0.SelfAttention.q.weight"
    save_file({**weights, name: weights[name][:7].clone()}, folder / WEIGHTS, metadata={"format": "pt"})


REFUSED = {
    "wrapped by DistributedDataParallel": (lambda f: rename(f, "module.{}".format), ["missing", "prefix 'module.'"]),
    "compiled": (lambda f: rename(f, "_orig_mod.{}".format), ["_orig_mod.decoder", "prefix '_orig_mod.'"]),
    "a weight missing": (
        lambda f: rename(f, lambda name: None if name.endswith("1.DenseReluDense.wo.weight") else name),
        ["2 are missing (encoder.block.0.layer.1.DenseReluDense.wo.weight"],
    ),
    "another shape": (reshaped, ["1 are of another shape (encoder.block.0.layer.0.SelfAttention.q.weight)"]),
    "a broken file": (lambda f: (f / WEIGHTS).write_bytes(b"not safetensors"), ["model.name", "cannot be loaded"]),
    "a pickle only": (lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"), ["model.name", "safetensors"]),
    "ByT5": (byt5, ["slow tokenizer (ByT5Tokenizer)", "ByT5 is not supported"]),
    "UMT5": (umt5, ["is a umt5"]),
    "encoder only": (
        lambda f: T5EncoderModel(T5Config.from_pretrained(f)).save_pretrained(f),
        ["is an encoder only"],
    ),
    "no start token": (without_start, ["has no decoder_start_token_id"]),
    "deeper decoder": (lambda f: remade(f, num_decoder_layers=3), ["3 decoder layers", "deeper than the encoder"]),
    "d_kv": (lambda f: remade(f, d_kv=12), ["d_kv=12", "multiple of 8"]),
}


if not IS_TRANSFORMERS_5:  # which ties such a head to the embedding
    REFUSED["untied without a head"] = (
        lambda f: (f / "config.json").write_text(
            json.dumps({**json.loads((f / "config.json").read_text()), "tie_word_embeddings": False})
        ),
        ["1 are missing (lm_head.weight)"],
    )


@pytest.mark.parametrize("case", REFUSED)
def test_other_model_is_refused_by_check_in_one_sentence(tiny, tiny_recipe, tmp_path, capsys, case):
    change, named = REFUSED[case]
    change(tiny)
    assert main(["--check", str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tiny}"]) == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("model.name: ")
    assert all(word in sentence for word in named), sentence
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lora.targets=[q, lm_head]", "lora.targets: lm_head is an embedding or shares its weight"),
        ("lora.targets=[shared]", "lora.targets: shared is an embedding"),
        ("lora.targets=[relative_attention_bias]", "relative_attention_bias is an embedding"),
        ("lora.targets=(", "lora.targets: "),
        ("lora.targets=[q, wi_0]", "lora.targets: the model has no module wi_0"),
        ("generation.min_new_tokens=13", "generation.min_new_tokens: 13 is more than generation.max_new_tokens, 12"),
        pytest.param(
            "model.load_in_4bit=true",
            "model.load_in_4bit: QLoRA needs an NVIDIA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
@pytest.mark.parametrize("mode", ["--check", "--dry-run"])
def test_setting_that_the_model_does_not_allow_is_refused(tiny_recipe, tmp_path, capsys, mode, override, named):
    assert main([mode, str(tiny_recipe), f"output={tmp_path / 'run'}", override]) == 1
    assert named in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(tmp_path.iterdir())


def trained(model, trainer, pre_tokenizer, decoder) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator([row["document"] for row in gazette("train")[:20]], trainer(400, special))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def make_tokenizer(kind: str, folder: Path) -> None:
    """Puts a tokenizer of this kind into `folder`."""
    if kind in ("SentencePiece file only", "SentencePiece, converted"):
        base = ROOT / "models/base"
        for name in ("spiece.model", "special_tokens_map.json", "tokenizer_config.json"):
            shutil.copy(base / name, folder / name)
        if kind == "SentencePiece, converted":
            shutil.copy(base / "tokenizer.json", folder / "tokenizer.json")
        return
    tokenizer = {
        "byte-level BPE": lambda: trained(
            models.BPE(),
            lambda size, special: trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False),
            pre_tokenizers.ByteLevel(),
            decoders.ByteLevel(),
        ),
        "WordPiece": lambda: trained(
            models.WordPiece(unk_token="<unk>"),
            lambda size, special: trainers.WordPieceTrainer(
                vocab_size=size, special_tokens=special, show_progress=False
            ),
            pre_tokenizers.Whitespace(),
            decoders.WordPiece(),
        ),
        "Unigram": lambda: trained(
            models.Unigram(),
            lambda size, special: trainers.UnigramTrainer(
                vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
            ),
            pre_tokenizers.Metaspace(),
            decoders.Metaspace(),
        ),
    }[kind]()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    "kind", ["SentencePiece, converted", "SentencePiece file only", "byte-level BPE", "WordPiece", "Unigram"]
)
def test_each_kind_of_tokenizer_reads_and_writes_as_the_engine_does(tiny_base, tmp_path, kind):
    make_tokenizer(kind, tmp_path)
    tokenizer = load_tokenizer(tmp_path, "model.name")
    check_tokenizer(AutoModelForSeq2SeqLM.from_pretrained(tiny_base), tokenizer, "It")
    tokenizer.save_pretrained(tmp_path / "merged")
    served = TextTokenizer(Tokenizer.from_file(str(tmp_path / "merged/tokenizer.json")), "summarize: ", 512)
    for row in gazette("validation")[:5]:
        ids = tokenizer("summarize: " + row["document"], verbose=False).input_ids
        assert served.encode(row["document"]) == ids
        assert served.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True)
