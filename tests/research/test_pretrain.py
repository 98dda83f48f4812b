"""Pre-training: the corpus, and the command with its loop, kill and resume."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.errors import UserError
from research.pretrain import corpus
from research.pretrain.__main__ import main
from research.pretrain.recipe import PretrainRecipe
from tests.conftest import ROOT, write_jsonl
from tests.research.conftest import TASKS, recipe

# The corpus


@pytest.mark.parametrize(
    ("sentence", "prose"),
    [
        ("The bridge was closed on Tuesday.", True),
        ("A heading of four words", False),
        ("See https://example.org for the rest of it.", False),
        ("12 34 56 78 90 12 34 56.", False),
        ("Too short.", False),
    ],
)
def test_is_prose(sentence, prose):
    assert corpus.is_prose(sentence) is prose


def prose(seed: int, count: int = 5) -> list[str]:
    """Random sentences, different for each seed."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnoprstu"
    word = lambda: "".join(draw.choices(letters, k=6))  # noqa: E731
    return [f"The {' '.join(word() for _ in range(14))}." for _ in range(count)]


def test_duplicates_boilerplate_leads_and_evaluation_text_are_dropped(tmp_path):
    boiler = "Subscribe to the newsletter of our office today."
    one, leaked = prose(0), prose(50)
    documents = [
        {"document": " ".join([*one, boiler]), "summary": "A summary of its own here."},
        {"document": " ".join([*one, "Another end stands here now."])},
        {"document": " ".join([*prose(1), boiler]), "summary": "The opening again.", "summary_kind": "deck=lead"},
        {"document": " ".join([*prose(2)[:4], leaked[2], boiler])},
        {"document": "WASHINGTON, D.C. – " + " ".join([*prose(3), boiler])},
        *({"document": " ".join([*prose(10 + i), boiler])} for i in range(6)),
        {"document": "A heading. Nothing more."},
    ]
    write_jsonl(tmp_path / "text.jsonl", documents)
    write_jsonl(tmp_path / "evaluation.jsonl", [{"document": " ".join(leaked), "summary": "-"}])
    settings = PretrainRecipe.model_validate(
        {
            "corpus": {
                "folder": str(tmp_path),
                "decontaminate_against": [str(tmp_path / "evaluation.jsonl")],
                "sets": {"text": {"file": "text.jsonl", "weights": {}}},
            },
            "stages": [{"share": 1.0, "document_tokens": [64], "mixture": {"copy": 1.0}}],
            "training": {"tokens": 1, "learning_rate": 0.1, "embedding_rate": 0.1},
        }
    ).corpus
    training, held_out, counts = corpus.load(settings, 0)
    documents = training + held_out
    texts = {" ".join(document.sentences) for document in documents}
    assert not any(boiler in text for text in texts)
    assert not any(leaked[2] in text for text in texts)
    assert counts["text"]["duplicate"] == 1
    assert counts["text"]["evaluation"] == 1
    assert counts["text"]["too_short"] == 1
    assert " ".join(prose(3)) in texts  # without its dateline
    assert sorted(filter(None, (document.summary for document in documents))) == ["A summary of its own here."]
    assert len(documents) == 9


def test_cleaned_corpus_is_cached_for_the_same_settings(recipe_file, tmp_path):
    folder, cache = shutil.copytree(recipe_file.parent, tmp_path / "corpus"), tmp_path / "documents.jsonl.xz"
    settings = recipe(recipe_file, f"corpus.folder={folder}").corpus
    loaded = corpus.load_cached(settings, 0, cache)
    assert loaded == corpus.load(settings, 0)
    shutil.rmtree(folder)
    assert corpus.load_cached(settings, 0, cache) == loaded
    with pytest.raises(UserError, match="cannot be read"):
        corpus.load_cached(settings, 1, cache)


def error_message(recipe_file, output, capsys, *overrides):
    """The error output of the command, which has to end with status 1."""
    assert main([str(recipe_file), f"output={output}", *overrides]) == 1
    return capsys.readouterr().err


def test_missing_corpus_is_one_sentence(recipe_file, tmp_path, capsys):
    assert "/nowhere" in error_message(recipe_file, tmp_path, capsys, "corpus.folder=/nowhere")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages=[{share: 0.4, document_tokens: [64], mixture: {copy: 1}}]", "sum to 1"),
        ("stages=[{share: 1.0, document_tokens: [64], mixture: {cpoy: 1}}]", "stages.0.mixture.cpoy"),
        ("corpus.sets.prose.weights.titel=1", "the nearest valid one is corpus.sets.prose.weights.title"),
        ("training.tokens=many", "training.tokens"),
        ("corpus.sets.pairs.weights={}", "for summarize"),
        ("stages=[{share: 1.0, document_tokens: [16], mixture: {after: 1}}]", "the task after at 16 tokens"),
    ],
)
def test_invalid_recipe_names_the_key(recipe_file, tmp_path, capsys, override, message):
    assert message in error_message(recipe_file, tmp_path, capsys, override)


# The command


def command(recipe_file, output, *overrides):
    return [sys.executable, "-m", "research.pretrain", recipe_file, f"output={output}", *overrides]


@pytest.fixture(scope="module")
def complete_run(recipe_file, tmp_path_factory):
    """A run without interruption."""
    output = tmp_path_factory.mktemp("complete")
    subprocess.run(command(recipe_file, output), check=True, cwd=ROOT)
    return output


def test_run_writes_a_model_that_transformers_loads(complete_run):
    model = AutoModelForSeq2SeqLM.from_pretrained(complete_run / "model")
    tokenizer = AutoTokenizer.from_pretrained(complete_run / "model")
    assert len(tokenizer) == model.config.vocab_size == 1064
    text = "Nguyễn 🙂 paid £31."
    ids = tokenizer(text).input_ids
    assert ids[:-1] == sentencepiece.SentencePieceProcessor(model_file=str(complete_run / "model/spiece.model")).encode(
        text
    )
    report = json.loads((complete_run / "pretraining.json").read_text())
    assert report["history"][-1]["step"] == 12
    assert set(TASKS) <= report["history"][-1].keys()
    assert (complete_run / "losses.png").stat().st_size > 1000


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(recipe_file, complete_run, tmp_path):
    resumed = command(recipe_file, tmp_path, "training.checkpoint_minutes=1e-6")
    with subprocess.Popen(resumed, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 240
        state = tmp_path / "checkpoint/state.safetensors"
        while not state.exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    subprocess.run(command(recipe_file, tmp_path), check=True, cwd=ROOT)
    history = json.loads((tmp_path / "pretraining.json").read_text())["history"]
    assert history[0]["step"] < 12
    one, other = (load_file(folder / "model/model.safetensors") for folder in (complete_run, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_run_can_start_from_a_model(recipe_file, complete_run, tmp_path):
    subprocess.run(
        command(
            recipe_file,
            tmp_path,
            f"start={complete_run}/model",
            "training.tokens=1000",
            "training.learning_rate=1e-9",
            "training.embedding_rate=1e-9",
        ),
        check=True,
        cwd=ROOT,
    )
    one, other = (load_file(folder / "model/model.safetensors") for folder in (complete_run, tmp_path))
    assert all(torch.allclose(one[name].float(), other[name].float(), atol=1e-3) for name in one)
