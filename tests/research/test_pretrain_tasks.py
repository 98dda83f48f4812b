"""Pre-training: the tasks, their batches, weights that copy, and losses against transformers' own."""

import random

import pytest
import torch
from transformers import T5ForConditionalGeneration

from research.pretrain.batches import Steps, collate, group_by_length
from research.pretrain.initialisation import fresh_model
from research.pretrain.recipe import Network
from research.pretrain.tasks import Tasks, gap_sentence, nearest_sentence, rename
from research.pretrain.training import losses, rate_factor
from tests.conftest import gazette
from tests.research.conftest import TASKS, recipe

# The tasks


def test_principal_sentence_by_hand():
    sentences = [
        "Nobody expected any trouble when breakfast arrived there yesterday morning.",
        "The harbour bridge closed after engineers found cracks inside two pillars.",
        "Engineers will examine the pillars of the harbour bridge until spring comes.",
        "Cracks were found by chance.",
    ]
    # Sentence 1 shares harbour, bridge, engineers, found, cracks, pillars; sentence 2 four of them; 3 is too short.
    assert gap_sentence(sentences) == 1
    assert gap_sentence(["Too short to choose."] * 3) is None


def test_nearest_sentence_by_hand():
    sentences = [
        "The harbour bridge closed early this week.",
        "Engineers found cracks inside two pillars of the harbour bridge on Tuesday morning.",
        "Nobody expected any trouble when breakfast arrived there yesterday morning.",
    ]
    # harbour, bridge, cracks and pillars in the second; the first is too short, the third shares morning alone.
    assert nearest_sentence(sentences, "Cracks in pillars closed a harbour bridge.") == 1
    assert nearest_sentence(sentences[2:], "Cracks were found one morning.") is None


def test_rename_changes_both_texts_in_the_same_way():
    text, target = "When Hagel spoke, Hagel named 40 towns.", "Yesterday Hagel named 40 towns, not 41 of them."
    new_text, new_target = rename(text, target, random.Random(3), ["Quill"])
    assert new_text.startswith("When Quill spoke, Quill named ")
    number = new_text.split()[5]
    assert number != "40"
    assert new_target == f"Yesterday Quill named {number} towns, not 41 of them."


@pytest.mark.parametrize("task", TASKS)
def test_every_task_respects_length_and_end_token(tasks, task):
    draw = random.Random(1)
    for _ in range(40):
        source, target = tasks.example(task, 96, draw)
        assert len(source) <= 96
        assert 2 <= len(target) <= (160 if task == "continue" else 64)
        assert source[-1] == 1
        assert 1 not in source[:-1]
        # A model that saw the end token where a target was merely cut would stop in the middle of its sentences.
        assert (target[-1] == 1) == (task not in ("continue", "after") and len(target) <= 64)


def test_cut_target_has_no_end_token(tasks, texts, tokenizer, monkeypatch):
    monkeypatch.setattr("research.pretrain.tasks.MAX_TARGET", 6)
    draw = random.Random(3)
    for _ in range(20):
        _, target = tasks.example("title", 96, draw)
        assert len(target) == 6 or target[-1] == 1


def test_copied_tokens_are_in_the_source(tasks, tokenizer):
    draw = random.Random(2)
    for task in ("random", "copy", "after"):
        for _ in range(40):
            source, target = tasks.example(task, 128, draw)
            expected = [token for token in target if token != 1]
            assert any(source[i : i + len(expected)] == expected for i in range(len(source))), task


def test_filled_spans_restore_the_text(tasks, texts, tokenizer):
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
        restored = [piece for token in source[prefix:-1] for piece in spans.pop(token, [token])]
        assert not spans
        assert any(tokenizer.decode(restored) in text for text in texts)


def test_continuation_starts_where_the_source_ends(tasks, texts, tokenizer):
    draw = random.Random(5)
    prefix = len(tokenizer.encode("continue: "))
    for _ in range(20):
        source, target = tasks.example("continue", 96, draw)
        joined = tokenizer.decode(source[prefix:-1] + target)
        assert any(joined in text for text in texts)


def test_lead_is_removed_from_its_text(tasks, tokenizer):
    draw = random.Random(6)
    for _ in range(40):
        source, target = (tokenizer.decode(part) for part in tasks.example("lead", 200, draw))
        assert source.startswith("lead: ")
        assert target[:60] not in source


def test_gap_sentence_has_the_served_prefix_only_if_it_is_in_the_text(tasks, tokenizer):
    draw = random.Random(7)
    served = 0
    for _ in range(60):
        source, target = (tokenizer.decode(part) for part in tasks.example("gap", 500, draw))
        if source.startswith("summarize: ") and len(tokenizer.encode(source)) < 480:
            served += 1
            assert target[:60] in source
    assert served > 5


def test_extract_is_a_sentence_of_its_text_and_has_the_served_prefix(tasks, tokenizer):
    draw = random.Random(9)
    complete = 0
    for _ in range(40):
        source, target = tasks.example("extract", 500, draw)
        source, target = tokenizer.decode(source[:-1]), tokenizer.decode(target)
        assert source.startswith("summarize: ")
        complete += target in source
    assert complete > 35  # a source may be cut at its end, before the sentence


def test_sets_are_drawn_by_weight(documents, tokenizer, recipe_file):
    """Pairs are a sixth of the documents; only `summarize` draws from them, and `title` never does."""
    summaries = {row["summary"] for row in gazette("train")[200:240]}
    tasks = Tasks(documents, recipe(recipe_file).corpus, tokenizer)
    draw = random.Random(8)
    drawn = [tokenizer.decode(tasks.example("summarize", 200, draw)[1][:-1]) for _ in range(60)]
    assert sum(text in summaries for text in drawn) > 30  # a quarter has other names, a long one is cut
    titles = {row["topic"] for row in gazette("train")[:200]}
    assert all(tokenizer.decode(tasks.example("title", 200, draw)[1][:-1]) in titles for _ in range(20))


# Batches


def test_steps_do_not_depend_on_the_order_of_access(recipe_file, tasks):
    first, second = (Steps(recipe(recipe_file), tasks) for _ in range(2))
    assert len(first) == 12
    for i in range(4):
        first[i]
    for one, other in zip(first[7], second[7], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert first.stage(0).mixture.keys() == {"copy", "after", "random"}
    assert first.stage(11).mixture.keys() >= {"gap", "lead"}


def test_groups_contain_every_example_within_the_limit():
    draw = random.Random(8)
    examples = [([5] * draw.randint(4, 200), [6] * draw.randint(2, 64)) for _ in range(300)]
    groups = group_by_length(examples, 2000)
    assert sorted(map(repr, (pair for group in groups for pair in group))) == sorted(map(repr, examples))
    for group in groups:
        padded = len(group) * (max(len(a) for a, _ in group) + max(len(b) for _, b in group))
        assert padded <= 2000 or len(group) == 1


# The weights


def copied_share(model: T5ForConditionalGeneration) -> float:
    """Share of 40 random pieces, the first left out, that are the likeliest when the model is to copy them."""
    draw = torch.Generator().manual_seed(3)
    pieces = torch.stack([torch.randperm(7000, generator=draw)[:40] + 300 for _ in range(8)])
    with torch.inference_mode():
        logits = model(input_ids=pieces, labels=pieces).logits
    return float((logits.argmax(-1) == pieces)[:, 1:].float().mean())


def test_initial_weights_copy_and_random_ones_do_not():
    model = fresh_model(Network(), 0).eval()
    assert copied_share(model) > 0.9
    torch.manual_seed(0)
    assert copied_share(T5ForConditionalGeneration(model.config).eval()) < 0.05


def test_losses_equal_those_of_transformers(tasks):
    model = fresh_model(Network(vocabulary=16000, layers=2, d_model=64, d_ff=96), 1).eval()
    draw = random.Random(9)
    batch = collate([tasks.example(task, 96, draw) for task in TASKS])
    with torch.inference_mode():
        own = losses(model, batch).mean()
        reference = model(input_ids=batch[0], attention_mask=batch[1], labels=batch[2]).loss
    assert torch.allclose(own, reference, atol=1e-5)


def test_rate_rises_is_level_and_falls(recipe_file):
    training = recipe(recipe_file, "training.warmup=0.1", "training.decay=0.4").training
    assert [round(rate_factor(done, training), 3) for done in (0.05, 0.1, 0.5, 0.8, 1.0)] == [0.5, 1, 1, 0.5, 0]
