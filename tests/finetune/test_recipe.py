"""The recipes in recipes/ fit the schema."""

import pytest

from finetune.recipe import Recipe
from finetune.recipe_io import read_recipe
from research.pretrain.recipe import PretrainRecipe
from tests.conftest import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    schema = PretrainRecipe if path.stem == "base" else Recipe
    assert read_recipe(path, [], schema).output == f"artifacts/{path.stem}"


def test_xsum_recipe_names_the_model_and_data_set():
    recipe = read_recipe(ROOT / "recipes/t5-small-xsum.yaml")
    assert recipe.model.name == "google-t5/t5-small"
    assert recipe.data.name == "EdinburghNLP/xsum"
    assert (recipe.model.prefix, recipe.data.document_column, recipe.data.summary_column) == (
        "summarize: ",
        "document",
        "summary",
    )


def test_embedded_recipe_saves_checkpoints_rarely():
    """The three minutes of the embedded recipe are not spent on saving."""
    assert read_recipe(ROOT / "recipes/embedded.yaml").training.checkpoint_seconds >= 30
