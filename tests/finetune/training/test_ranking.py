"""The objective `rank`: the loss by hand, the packed batch against one sentence at a time, and a run."""

import json
import math
import re
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.__main__ import main
from finetune.evaluation.ranking import score_sentences
from finetune.training.ranking import (
    GENERATION_SHARE,
    TEMPERATURE,
    RankingCollator,
    RankingTrainer,
    ranking_loss,
    sentence_scores,
)
from tests.conftest import gazette, tiny_t5, write_jsonl


def test_loss_by_hand():
    """Two sentences whose scores differ by ln 3 temperatures have probabilities 3/4 and 1/4; the second row agrees."""
    scores = torch.tensor([[TEMPERATURE * math.log(3), 0.0, 7.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    divergence = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert ranking_loss(scores, targets).item() == pytest.approx(divergence / 2, rel=1e-5)


def test_gradient_is_predicted_minus_target_probability():
    scores = torch.zeros(1, 3, requires_grad=True)
    ranking_loss(scores, torch.tensor([[0.7, 0.3, 0.0]])).backward()
    assert scores.grad.tolist()[0] == pytest.approx([(0.5 - 0.7) / TEMPERATURE, (0.5 - 0.3) / TEMPERATURE, 0.0])


@pytest.mark.parametrize("shape", ["v1.0", "v1.1"])
def test_packed_sentences_score_as_one_at_a_time(tmp_path, shape):
    folder = tiny_t5(tmp_path / "model", shape)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    documents = ["The fair opened on Monday. It rained all day.", "Nobody came to the quay on that day, as always."]
    sentences = [["It rained all day.", "The fair opened on Monday.", "Yes."], ["Nobody came to the quay."]]
    rows = [
        {
            "input_ids": tokenizer("summarize: " + document).input_ids,
            "sentences": tokenizer(text_target=texts).input_ids,
            "targets": [1 / len(texts)] * len(texts),
        }
        for document, texts in zip(documents, sentences, strict=True)
    ]
    batch = RankingCollator(tokenizer, model.config.decoder_start_token_id)(rows)
    labels, sentence, targets = (batch.pop(name) for name in ("labels", "sentence", "targets"))
    for penalty in (1.0, 0.0):
        with torch.no_grad():
            packed = sentence_scores(model(**batch).logits, labels, sentence, targets.shape[1], penalty)
            for row, scores in zip(rows, packed, strict=True):
                alone = score_sentences(model, row["input_ids"], row["sentences"], penalty)
                assert scores[: len(alone)].tolist() == pytest.approx(alone.tolist(), rel=1e-4)
                assert not scores[len(alone) :].any()


@pytest.fixture(scope="module")
def ranking_recipe(tiny_base, tmp_path_factory):
    """Whole documents, since those of `tiny_recipe` have few sentences."""
    folder = tmp_path_factory.mktemp("rank")
    rows = gazette("train")[:48]
    write_jsonl(folder / "train.jsonl", rows[:32])
    write_jsonl(folder / "validation.jsonl", rows[32:])
    (folder / "tiny.yaml").write_text(
        f"""
model: {{name: {tiny_base}}}
data: {{train: {folder}/train.jsonl, validation: {folder}/validation.jsonl, max_document_tokens: 192}}
lora: {{rank: 16, alpha: 64}}
training: {{objective: rank, epochs: 4, batch_size: 8, learning_rate: 1e-2}}
generation: {{mode: extract}}
"""
    )
    return folder / "tiny.yaml"


def test_run_learns_to_rank_and_answers_with_sentences_of_the_text(ranking_recipe, tmp_path):
    # Scored on what it trains on: a tiny random network learns little that carries over.
    overrides = [f"data.validation={ranking_recipe.parent}/train.jsonl", "training.learning_rate=5e-3"]
    assert main([str(ranking_recipe), f"output={tmp_path / 'run'}", *overrides]) == 0
    info = json.loads((tmp_path / "run/run.json").read_text())
    losses = [row["eval_loss"] for row in info["log"] if "eval_loss" in row]
    assert losses[-1] < losses[0] - 0.05, losses
    summaries = json.loads((tmp_path / "run/summaries.json").read_text())
    documents = {" ".join(row["document"].split()) for row in gazette("train")[:32]}
    assert all(any(text in document for document in documents) for text in summaries["finetuned"])


def test_step_raises_the_likelihood_of_the_sentences_it_ranks_first(tmp_path):
    """The ranking alone can raise a score's rank while all likelihoods fall, and what is left cannot write."""
    folder = tiny_t5(tmp_path / "model", "v1.0")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    labels = tokenizer(text_target=["The fair opened on Monday.", "It rained all day."]).input_ids
    row = {"input_ids": tokenizer("summarize: A fair.").input_ids, "sentences": labels, "targets": [0.5, 0.5]}
    batch = RankingCollator(tokenizer, 0)([row])
    trainer = SimpleNamespace(length_penalty=1.0)
    loss, outputs = RankingTrainer.compute_loss(trainer, model, batch, return_outputs=True)
    scores = sentence_scores(outputs.logits, batch["labels"], batch["sentence"], 2, 1.0)
    expected = ranking_loss(scores, batch["targets"]) + GENERATION_SHARE * -scores.mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.01 * weight.grad
    after = score_sentences(model.eval(), row["input_ids"], labels, 1.0)
    assert after.mean() > scores.mean()


def test_check_estimates_the_memory_of_all_sentences_of_a_document(ranking_recipe, capsys, tmp_path):
    estimates = []
    for objective in ("rank", "generate"):
        overrides = [f"output={tmp_path / objective}", f"training.objective={objective}"]
        assert main([str(ranking_recipe), "--check", *overrides]) == 0
        estimates.append(
            int(re.search(r"longest\s+pairs:\s+([\d,]+)\s+MiB", capsys.readouterr().err)[1].replace(",", ""))
        )
    assert estimates[0] > 1.5 * estimates[1]


def test_label_smoothing_is_refused(ranking_recipe, capsys):
    assert main([str(ranking_recipe), "training.label_smoothing=0.1"]) == 1
    assert "label_smoothing" in capsys.readouterr().err
