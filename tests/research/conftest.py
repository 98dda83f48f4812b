"""Fixtures of the pre-training tests: a recipe for a tiny network, and its corpus."""

import pytest
import sentencepiece

from finetune.recipe_io import read_recipe
from research.pretrain import corpus
from research.pretrain.recipe import PretrainRecipe
from research.pretrain.tasks import Tasks
from tests.conftest import ROOT, gazette, write_jsonl

SPIECE = ROOT / "models/base/spiece.model"
TASKS = ("random", "copy", "after", "fill", "continue", "gap", "extract", "lead", "title", "summarize")


@pytest.fixture(scope="module")
def tokenizer():
    return sentencepiece.SentencePieceProcessor(model_file=str(SPIECE))


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    """A recipe for a tiny network on Gazette's documents."""
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
    training, held_out, _ = corpus.load(recipe(recipe_file).corpus, 0)
    return training + held_out


@pytest.fixture(scope="module")
def texts(documents):
    return [" ".join(document.sentences) for document in documents]


@pytest.fixture(scope="module")
def tasks(recipe_file, documents, tokenizer):
    return Tasks(documents, recipe(recipe_file).corpus, tokenizer)
