"""Recipes: what is read, and the sentence a mistake meets."""

import pytest

from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.recipe_io import read_recipe
from research.pretrain.recipe import PretrainRecipe
from tests.conftest import ROOT

GOOD = "model: {name: m}\ndata: {train: t.jsonl}\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    schema = PretrainRecipe if path.stem == "base" else Recipe
    assert read_recipe(path, [], schema).output == f"artifacts/{path.stem}"


def test_the_reference_recipe_names_the_reference_task():
    recipe = read_recipe(ROOT / "recipes/t5-small-xsum.yaml")
    assert recipe.model.name == "google-t5/t5-small"
    assert recipe.data.name == "EdinburghNLP/xsum"
    assert (recipe.model.prefix, recipe.data.document_column, recipe.data.summary_column) == (
        "summarize: ",
        "document",
        "summary",
    )


def test_overrides_reach_their_keys(recipe):
    read = read_recipe(
        recipe,
        ["lora.rank=4", "data.validation=null", "training.learning_rate=3e-4", "output=x", "lora.targets=[q, v]"],
    )
    assert (read.lora.rank, read.data.validation, read.training.learning_rate) == (4, None, 3e-4)
    assert (read.output, read.lora.targets) == ("x", ["q", "v"])


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lora.rnak=4", ["lora.rnak", "lora.rank"]),
        ("trainning.epochs=4", ["trainning", "training"]),
        ("lora.rank=many", ["lora.rank", "integer", "'many'"]),
        ("lora.rank=true", ["lora.rank", "integer"]),
        ("lora.rank=0", ["lora.rank", "greater"]),
        ("training.learning_rate=fast", ["training.learning_rate", "number"]),
        ("training.learning_rate=.nan", ["training.learning_rate", "finite"]),
        ("training.precision=fp16", ["training.precision", "bf16"]),
        ("lora.targets=3", ["lora.targets"]),
        ("model.name=null", ["model.name", "string"]),
        ("generation.num_beams=9", ["generation.num_beams", "8"]),
        ("lora=3", ["lora"]),
        ("data.train.x=3", ["data.train.x"]),
        ("lora.rank", ["lora.rank", "section.key=value"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(recipe, override, named):
    with pytest.raises(UserError) as error:
        read_recipe(recipe, [override])
    sentence = str(error.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in named), sentence


@pytest.mark.parametrize("text", ["", "- a\n", "model: {name: m}\n", "model: [", "\ttabs"])
def test_a_file_that_is_no_recipe_is_one_sentence(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_four_bits_without_an_adapter_are_refused(recipe):
    with pytest.raises(UserError, match=r"^The recipe: model\.load_in_4bit needs an adapter, and lora is null\.$"):
        read_recipe(recipe, ["model.load_in_4bit=true", "lora=null"])


def test_a_section_that_may_be_null_names_its_keys_all_the_same(recipe):
    assert read_recipe(recipe, ["lora=null"]).lora is None
    with pytest.raises(UserError, match=r"Recipe key lora\.alpha: "):
        read_recipe(recipe, ["lora.alpha=-1"])


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        read_recipe(tmp_path / "nowhere.yaml")
