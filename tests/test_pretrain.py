"""Pre-training: the corpus, the tasks, weights that copy, the loop against transformers' own loss, kill and resume."""

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
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5ForConditionalGeneration

from finetune.errors import UserError
from finetune.pretrain import corpus
from finetune.pretrain.__main__ import main
from finetune.pretrain.batches import Steps, grouped, padded
from finetune.pretrain.initialisation import fresh_model
from finetune.pretrain.recipe import Network, PretrainRecipe
from finetune.pretrain.tasks import Tasks, gap_sentence, nearest_sentence, renamed
from finetune.pretrain.training import losses, rate
from finetune.recipe import read_recipe
from tests.conftest import ROOT, gazette, write_jsonl

SPIECE = ROOT / "models/base/spiece.model"
TASKS = ("random", "copy", "after", "fill", "continue", "gap", "extract", "lead", "title", "summarize")


@pytest.fixture(scope="module")
def tokenizer():
    return sentencepiece.SentencePieceProcessor(model_file=str(SPIECE))


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    """A recipe for a tiny network on Gazette's documents, which are prose like any other here."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = gazette("train")[:240]
    write_jsonl(folder / "prose.jsonl", [{**row, "title": row["topic"]} for row in rows[:200]])
    write_jsonl(folder / "pairs.jsonl", rows[200:])
    path = folder / "tiny.yaml"
    path.write_text(
        f"""
corpus:
  folder: {folder}
  held_out: 6
  sets:
    prose: {{file: prose.jsonl, weights: {{prose: 1, title: 1}}}}
    pairs: {{file: pairs.jsonl, weights: {{summarize: 1}}}}
network: {{vocabulary: 1000, layers: 2, d_model: 32, heads: 2, d_kv: 16, d_ff: 48}}
stages:
  - {{share: 0.5, document_tokens: [64], mixture: {{copy: 1, after: 1, random: 1}}}}
  - share: 0.5
    document_tokens: [64, 128]
    mixture: {{fill: 1, continue: 1, gap: 1, extract: 1, lead: 1, title: 1, summarize: 1}}
training: {{tokens: 12000, batch_tokens: 1000, micro_batch_tokens: 600, learning_rate: 4e-3, embedding_rate: 4e-3,
           compile: false, checkpoint_minutes: 1000}}
"""
    )
    return path


def recipe(path, *overrides) -> PretrainRecipe:
    return read_recipe(path, list(overrides), PretrainRecipe)


@pytest.fixture(scope="module")
def documents(recipe_file):
    kept, held_out, _ = corpus.load(recipe(recipe_file).corpus, 0)
    return kept + held_out


@pytest.fixture(scope="module")
def texts(documents):
    return [" ".join(document.sentences) for document in documents]


@pytest.fixture(scope="module")
def tasks(recipe_file, documents, tokenizer):
    return Tasks(documents, recipe(recipe_file).corpus, tokenizer)


# The corpus


def test_sentences_end_where_a_reader_would_end_them():
    text = 'Dr. Lund met Sen. J. K. Ask in the U.S. Capitol. "We agree." They left at 4 p.m. on Jan. 3.'
    assert corpus.sentences(text + "\nA heading\nIt rained.") == [
        "Dr. Lund met Sen. J. K. Ask in the U.S. Capitol.",
        '"We agree."',
        "They left at 4 p.m. on Jan. 3.",
        "A heading",
        "It rained.",
    ]


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
def test_only_prose_is_kept(sentence, prose):
    assert corpus.is_prose(sentence) is prose


def prose(seed: int, count: int = 5) -> list[str]:
    """Sentences that no other seed gives."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnoprstu"
    word = lambda: "".join(draw.choices(letters, k=6))  # noqa: E731
    return [f"The {' '.join(word() for _ in range(14))}." for _ in range(count)]


def test_doubles_boilerplate_leads_and_evaluation_text_are_dropped(tmp_path):
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
                "apart": [str(tmp_path / "evaluation.jsonl")],
                "sets": {"text": {"file": "text.jsonl", "weights": {}}},
            },
            "stages": [{"share": 1.0, "document_tokens": [64], "mixture": {"copy": 1.0}}],
            "training": {"tokens": 1, "learning_rate": 0.1, "embedding_rate": 0.1},
        }
    ).corpus
    kept, held_out, told = corpus.load(settings, 0)
    found = kept + held_out
    texts = {" ".join(document.sentences) for document in found}
    assert not any(boiler in text for text in texts)
    assert not any(leaked[2] in text for text in texts)
    assert told["text"]["double"] == 1
    assert told["text"]["evaluation"] == 1
    assert told["text"]["too_short"] == 1
    assert " ".join(prose(3)) in texts  # without its dateline
    assert sorted(filter(None, (document.summary for document in found))) == ["A summary of its own here."]
    assert len(found) == 9


def test_what_was_cleaned_is_kept_for_the_same_settings(recipe_file, tmp_path):
    folder, kept = shutil.copytree(recipe_file.parent, tmp_path / "corpus"), tmp_path / "documents.jsonl.xz"
    settings = recipe(recipe_file, f"corpus.folder={folder}").corpus
    found = corpus.load_once(settings, 0, kept)
    assert found == corpus.load(settings, 0)
    shutil.rmtree(folder)
    assert corpus.load_once(settings, 0, kept) == found
    with pytest.raises(UserError, match="cannot be read"):
        corpus.load_once(settings, 1, kept)


def refused(recipe_file, output, capsys, *overrides):
    """What the command says on its error output when it ends with 1."""
    assert main([str(recipe_file), f"output={output}", *overrides]) == 1
    return capsys.readouterr().err


def test_a_missing_corpus_is_one_sentence(recipe_file, tmp_path, capsys):
    assert "/nowhere" in refused(recipe_file, tmp_path, capsys, "corpus.folder=/nowhere")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stages=[{share: 0.4, document_tokens: [64], mixture: {copy: 1}}]", "sum to 1"),
        ("stages=[{share: 1.0, document_tokens: [64], mixture: {cpoy: 1}}]", "stages.0.mixture.cpoy"),
        ("corpus.sets.prose.weights.titel=1", "the nearest valid one is corpus.sets.prose.weights.title"),
        ("training.tokens=many", "training.tokens"),
        ("corpus.sets.pairs.weights={}", "for summarize"),
        ("stages=[{share: 1.0, document_tokens: [16], mixture: {after: 1}}]", "the task after at 16 tokens"),
    ],
)
def test_a_wrong_recipe_names_its_key(recipe_file, tmp_path, capsys, override, told):
    assert told in refused(recipe_file, tmp_path, capsys, override)


# The tasks


def test_the_principal_sentence_by_hand():
    sentences = [
        "Nobody expected any trouble when breakfast arrived there yesterday morning.",
        "The harbour bridge closed after engineers found cracks inside two pillars.",
        "Engineers will examine the pillars of the harbour bridge until spring comes.",
        "Cracks were found by chance.",
    ]
    # Sentence 1 shares harbour, bridge, engineers, found, cracks, pillars; sentence 2 four of them; 3 is too short.
    assert gap_sentence(sentences) == 1
    assert gap_sentence(["Too short to choose."] * 3) is None


def test_the_nearest_sentence_by_hand():
    sentences = [
        "The harbour bridge closed early this week.",
        "Engineers found cracks inside two pillars of the harbour bridge on Tuesday morning.",
        "Nobody expected any trouble when breakfast arrived there yesterday morning.",
    ]
    # harbour, bridge, cracks and pillars in the second; the first is too short, the third shares morning alone.
    assert nearest_sentence(sentences, "Cracks in pillars closed a harbour bridge.") == 1
    assert nearest_sentence(sentences[2:], "Cracks were found one morning.") is None


def test_renaming_changes_both_texts_alike():
    text, target = "When Hagel spoke, Hagel named 40 towns.", "Yesterday Hagel named 40 towns, not 41 of them."
    new_text, new_target = renamed(text, target, random.Random(3), ["Quill"])
    assert new_text.startswith("When Quill spoke, Quill named ")
    number = new_text.split()[5]
    assert number != "40"
    assert new_target == f"Yesterday Quill named {number} towns, not 41 of them."


@pytest.mark.parametrize("task", TASKS)
def test_every_task_keeps_its_length_and_its_end(tasks, task):
    draw = random.Random(1)
    for _ in range(40):
        source, target = tasks.example(task, 96, draw)
        assert len(source) <= 96
        assert 2 <= len(target) <= (160 if task == "continue" else 64)
        assert source[-1] == 1
        assert 1 not in source[:-1]
        # A model that saw the end token where a target was merely cut would stop in the middle of its sentences.
        assert (target[-1] == 1) == (task not in ("continue", "after") and len(target) <= 64)


def test_a_target_that_was_cut_has_no_end_token(tasks, texts, tokenizer, monkeypatch):
    monkeypatch.setattr("finetune.pretrain.tasks.MAX_TARGET", 6)
    draw = random.Random(3)
    for _ in range(20):
        _, target = tasks.example("title", 96, draw)
        assert len(target) == 6 or target[-1] == 1


def test_what_is_to_be_copied_stands_in_the_source(tasks, tokenizer):
    draw = random.Random(2)
    for task in ("random", "copy", "after"):
        for _ in range(40):
            source, target = tasks.example(task, 128, draw)
            wanted = [token for token in target if token != 1]
            assert any(source[i : i + len(wanted)] == wanted for i in range(len(source))), task


def test_filling_the_gaps_gives_the_text_back(tasks, texts, tokenizer):
    draw = random.Random(4)
    prefix = len(tokenizer.encode("fill: "))
    for _ in range(40):
        source, target = tasks.example("fill", 128, draw)
        spans: dict[int, list[int]] = {}
        for token in target[:-1]:
            if token >= tokenizer.get_piece_size():
                spans[token] = opened = []
            else:
                opened.append(token)
        whole = [piece for token in source[prefix:-1] for piece in spans.pop(token, [token])]
        assert not spans
        assert any(tokenizer.decode(whole) in text for text in texts)


def test_a_continuation_goes_on_where_the_source_stops(tasks, texts, tokenizer):
    draw = random.Random(5)
    prefix = len(tokenizer.encode("continue: "))
    for _ in range(20):
        source, target = tasks.example("continue", 96, draw)
        whole = tokenizer.decode(source[prefix:-1] + target)
        assert any(whole in text for text in texts)


def test_a_lead_is_taken_out_of_its_text(tasks, tokenizer):
    draw = random.Random(6)
    for _ in range(40):
        source, target = (tokenizer.decode(part) for part in tasks.example("lead", 200, draw))
        assert source.startswith("lead: ")
        assert target[:60] not in source


def test_a_gap_sentence_goes_by_the_served_prefix_only_while_it_stands_in_the_text(tasks, tokenizer):
    draw = random.Random(7)
    served = 0
    for _ in range(60):
        source, target = (tokenizer.decode(part) for part in tasks.example("gap", 500, draw))
        if source.startswith("summarize: ") and len(tokenizer.encode(source)) < 480:
            served += 1
            assert target[:60] in source
    assert served > 5


def test_an_extract_is_a_sentence_of_its_text_and_goes_by_the_served_prefix(tasks, tokenizer):
    draw = random.Random(9)
    whole = 0
    for _ in range(40):
        source, target = tasks.example("extract", 500, draw)
        source, target = tokenizer.decode(source[:-1]), tokenizer.decode(target)
        assert source.startswith("summarize: ")
        whole += target in source
    assert whole > 35  # a source may be cut at its end, where the sentence stood


def test_sets_are_drawn_by_their_weights(documents, tokenizer, recipe_file):
    """Pairs are a sixth of the documents here, and summarize draws from them alone, title never."""
    summaries = {row["summary"] for row in gazette("train")[200:240]}
    tasks = Tasks(documents, recipe(recipe_file).corpus, tokenizer)
    draw = random.Random(8)
    drawn = [tokenizer.decode(tasks.example("summarize", 200, draw)[1][:-1]) for _ in range(60)]
    assert sum(text in summaries for text in drawn) > 30  # a quarter has other names, a long one is cut
    titles = {row["topic"] for row in gazette("train")[:200]}
    assert all(tokenizer.decode(tasks.example("title", 200, draw)[1][:-1]) in titles for _ in range(20))


# Batches


def test_steps_are_the_same_whenever_they_are_asked_for(recipe_file, tasks):
    first, second = (Steps(recipe(recipe_file), tasks) for _ in range(2))
    assert len(first) == 12
    for i in range(4):
        first[i]
    for one, other in zip(first[7], second[7], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert first.stage(0).mixture.keys() == {"copy", "after", "random"}
    assert first.stage(11).mixture.keys() >= {"gap", "lead"}


def test_groups_hold_every_example_within_the_limit():
    draw = random.Random(8)
    examples = [([5] * draw.randint(4, 200), [6] * draw.randint(2, 64)) for _ in range(300)]
    groups = grouped(examples, 2000)
    assert sorted(map(repr, (pair for group in groups for pair in group))) == sorted(map(repr, examples))
    for group in groups:
        filled = len(group) * (max(len(a) for a, _ in group) + max(len(b) for _, b in group))
        assert filled <= 2000 or len(group) == 1


# The weights


def copied_share(model: T5ForConditionalGeneration) -> float:
    """Share of 40 random pieces, the first left out, that are the likeliest when the model is to copy them."""
    draw = torch.Generator().manual_seed(3)
    pieces = torch.stack([torch.randperm(7000, generator=draw)[:40] + 300 for _ in range(8)])
    with torch.inference_mode():
        logits = model(input_ids=pieces, labels=pieces).logits
    return float((logits.argmax(-1) == pieces)[:, 1:].float().mean())


def test_fresh_weights_copy_and_common_ones_do_not():
    model = fresh_model(Network(), 0).eval()
    assert copied_share(model) > 0.9
    torch.manual_seed(0)
    assert copied_share(T5ForConditionalGeneration(model.config).eval()) < 0.05


def test_losses_are_those_of_transformers(tasks):
    model = fresh_model(Network(vocabulary=16000, layers=2, d_model=64, d_ff=96), 1).eval()
    draw = random.Random(9)
    batch = padded([tasks.example(task, 96, draw) for task in TASKS])
    with torch.inference_mode():
        own = losses(model, batch).mean()
        reference = model(input_ids=batch[0], attention_mask=batch[1], labels=batch[2]).loss
    assert torch.allclose(own, reference, atol=1e-5)


def test_the_rate_rises_stays_and_falls(recipe_file):
    training = recipe(recipe_file, "training.warmup=0.1", "training.decay=0.4").training
    assert [round(rate(done, training), 3) for done in (0.05, 0.1, 0.5, 0.8, 1.0)] == [0.5, 1, 1, 0.5, 0]


# The command


def command(recipe_file, output, *overrides):
    return [sys.executable, "-m", "finetune.pretrain", recipe_file, f"output={output}", *overrides]


@pytest.fixture(scope="module")
def whole(recipe_file, tmp_path_factory):
    """A run without a break."""
    output = tmp_path_factory.mktemp("whole")
    subprocess.run(command(recipe_file, output), check=True, cwd=ROOT)
    return output


def test_a_run_leaves_a_model_that_transformers_loads(whole):
    model = AutoModelForSeq2SeqLM.from_pretrained(whole / "model")
    tokenizer = AutoTokenizer.from_pretrained(whole / "model")
    assert len(tokenizer) == model.config.vocab_size == 1064
    text = "Nguyễn 🙂 paid £31."
    ids = tokenizer(text).input_ids
    assert ids[:-1] == sentencepiece.SentencePieceProcessor(model_file=str(whole / "model/spiece.model")).encode(text)
    told = json.loads((whole / "pretraining.json").read_text())
    assert told["history"][-1]["step"] == 12
    assert set(TASKS) <= told["history"][-1].keys()
    assert (whole / "losses.png").stat().st_size > 1000


def test_a_killed_run_goes_on_to_the_same_weights(recipe_file, whole, tmp_path):
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
    one, other = (load_file(folder / "model/model.safetensors") for folder in (whole, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_can_start_from_a_model(recipe_file, whole, tmp_path):
    subprocess.run(
        command(
            recipe_file,
            tmp_path,
            f"start={whole}/model",
            "training.tokens=1000",
            "training.learning_rate=1e-9",
            "training.embedding_rate=1e-9",
        ),
        check=True,
        cwd=ROOT,
    )
    one, other = (load_file(folder / "model/model.safetensors") for folder in (whole, tmp_path))
    assert all(torch.allclose(one[name].float(), other[name].float(), atol=1e-3) for name in one)
