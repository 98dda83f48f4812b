"""docs/recipes.md is current and describes every key of a recipe."""

import re

from finetune.recipe import Recipe, Section
from finetune.reports.recipe_docs import document
from tests.conftest import ROOT


def keys(section: type[Section], before: str = "") -> set[str]:
    """The full names of all keys below a section, by pydantic's own JSON schema."""
    schema = section.model_json_schema()

    def below(node: dict, name: str) -> set[str]:
        names = set()
        for key, value in node.get("properties", {}).items():
            full = f"{name}.{key}".lstrip(".")
            inner = [part["$ref"] for part in [value, *value.get("anyOf", [])] if "$ref" in part]
            names |= below(schema["$defs"][inner[0].split("/")[-1]], full) if inner else {full}
        return names

    return below(schema, before)


def test_recipes_page_is_current_and_describes_every_key():
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert page == document(), "run python -m finetune.reports.recipe_docs"
    described, section = set(), ""
    for line in page.splitlines():
        if heading := re.match(r"## (?:`(\w+)`|Top level)", line):
            section = heading[1] or ""
        elif row := re.match(r"\| `(\w+)` \| .+ \| .* \| (.+) \|$", line):
            assert len(row[2]) > 8
            described.add(f"{section}.{row[1]}".lstrip("."))
    assert described - {"lora"} == keys(Recipe)
