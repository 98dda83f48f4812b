"""The PyTorch ranking of sentences: scores as transformers has them, batches, truncation, and gradients."""

import pytest
import torch

from finetune.evaluation import ranking
from finetune.evaluation.ranking import encode_source, rank, score_sentences
from finetune.recipe import Recipe
from finetune.training.model import load_base
from tests.conftest import gazette
from tests.support.models import tiny_t5

DOCUMENTS = [row["document"] for row in gazette("validation")[:4]]


@pytest.fixture(scope="module", params=["v1.0", "v1.1"])
def tiny(request, tmp_path_factory):
    recipe = new_recipe(tiny_t5(tmp_path_factory.mktemp("ranking") / "model", request.param))
    model, tokenizer = load_base(recipe.model)
    return model.eval(), tokenizer, recipe


def new_recipe(model, limit: int = 96, **generation) -> Recipe:
    return Recipe(
        model={"name": str(model)},
        data={"train": "unused.jsonl", "max_document_tokens": limit},
        generation={"mode": "extract", **generation},
    )


def test_score_is_that_of_beam_search(tiny):
    """transformers' own score of a finished sequence, with `generate` restricted to the sentence's tokens."""
    model, tokenizer, _ = tiny
    input_ids = tokenizer("summarize: " + DOCUMENTS[0][:200]).input_ids
    labels = tokenizer(text_target=["The fair was opened on Monday.", "A much shorter one."]).input_ids
    for penalty in (1.0, 2.0, -0.5):
        scores = score_sentences(model, input_ids, labels, penalty)
        for tokens, score in zip(labels, scores.tolist(), strict=True):
            generated = model.generate(
                input_ids=torch.tensor([input_ids]),
                num_beams=2,
                length_penalty=penalty,
                max_new_tokens=len(tokens),
                prefix_allowed_tokens_fn=lambda _, sequence, tokens=tokens: [tokens[len(sequence) - 1]],
                output_scores=True,
                return_dict_in_generate=True,
            )
            assert generated.sequences[0, 1:].tolist() == tokens
            assert generated.sequences_scores[0].item() == pytest.approx(score, rel=1e-5)


def test_slices_give_the_same_scores(tiny, monkeypatch):
    model, tokenizer, recipe = tiny
    in_one_pass = rank(model, tokenizer, DOCUMENTS, recipe, "")
    monkeypatch.setattr(ranking, "MAX_TOKENS", 1)
    for one, other in zip(in_one_pass, rank(model, tokenizer, DOCUMENTS, recipe, ""), strict=True):
        assert one.scores == pytest.approx(other.scores, rel=1e-5)
        assert one.selected == other.selected


def test_selected_sentences_stand_in_the_text_that_is_read_in_its_order(tiny):
    model, tokenizer, recipe = tiny
    recipe = new_recipe(recipe.model.name, limit=128, sentences=2)
    for document, ranking_ in zip(DOCUMENTS, rank(model, tokenizer, DOCUMENTS, recipe, ""), strict=True):
        selected = [ranking_.candidates[i] for i in ranking_.selected]
        assert [c.start for c in selected] == sorted(c.start for c in selected)
        assert ranking_.summary == " ".join(" ".join(document[c.start : c.end].split()) for c in selected)
        source = encode_source(tokenizer, document, recipe)
        assert len(source.input_ids) <= 128
        read = " ".join(tokenizer.decode(source.input_ids, skip_special_tokens=True).split())
        assert all(candidate.text in read for candidate in source.candidates)
        for candidate, (first, end) in zip(source.candidates, source.token_spans, strict=True):
            assert tokenizer.decode(source.input_ids[first:end]) == candidate.text


def test_blank_document_has_no_sentence(tiny):
    model, tokenizer, recipe = tiny
    (empty,) = rank(model, tokenizer, [" "], recipe, "")
    assert (empty.selected, empty.summary) == ([], "")


def test_scores_can_be_trained_on(tiny):
    model, tokenizer, _ = tiny
    labels = tokenizer(text_target=["The fair opened.", "It rained."]).input_ids
    score_sentences(model, tokenizer("summarize: A text.").input_ids, labels, 1.0).log_softmax(0)[0].backward()
    assert model.shared.weight.grad.abs().max() > 0
    model.zero_grad()
