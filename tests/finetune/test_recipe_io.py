"""Reading recipes: overrides, and the message for each mistake."""

import pytest

from finetune.errors import UserError
from finetune.recipe_io import read_recipe

GOOD = "model: {name: m}\ndata: {train: t.jsonl}\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    return path


def test_overrides_set_their_keys(recipe):
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
def test_mistake_is_one_sentence_that_names_the_key(recipe, override, named):
    with pytest.raises(UserError) as error:
        read_recipe(recipe, [override])
    sentence = str(error.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in named), sentence


@pytest.mark.parametrize("text", ["", "- a\n", "model: {name: m}\n", "model: [", "\ttabs"])
def test_file_that_is_not_a_recipe_is_one_sentence(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_4bit_without_an_adapter_is_refused(recipe):
    with pytest.raises(UserError, match=r"^The recipe: model\.load_in_4bit needs an adapter, and lora is null\.$"):
        read_recipe(recipe, ["model.load_in_4bit=true", "lora=null"])


def test_mistake_in_a_nullable_section_names_the_key(recipe):
    assert read_recipe(recipe, ["lora=null"]).lora is None
    with pytest.raises(UserError, match=r"Recipe key lora\.alpha: "):
        read_recipe(recipe, ["lora.alpha=-1"])


def test_missing_recipe_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        read_recipe(tmp_path / "nowhere.yaml")
