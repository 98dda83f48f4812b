"""--list, --check and --dry-run, and the page that describes every key."""

import re
import subprocess
import sys

import pytest

from finetune.__main__ import main
from finetune.recipe import Recipe, Section
from finetune.recipe_io import read_recipe
from finetune.reports.recipe_docs import document, recipe_titles
from finetune.training.memory import estimate
from tests.conftest import ROOT


def keys(section: type[Section], before: str = "") -> set[str]:
    """The full names of all keys below a section, by pydantic's own JSON schema."""
    schema = section.model_json_schema()

    def below(node: dict, name: str) -> set[str]:
        found = set()
        for key, value in node.get("properties", {}).items():
            full = f"{name}.{key}".lstrip(".")
            inner = [part["$ref"] for part in [value, *value.get("anyOf", [])] if "$ref" in part]
            found |= below(schema["$defs"][inner[0].split("/")[-1]], full) if inner else {full}
        return found

    return below(schema, before)


def test_the_page_of_recipes_is_current_and_describes_every_key():
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert page == document(), "python -m finetune.reports.recipe_docs > docs/recipes.md"
    described, section = set(), ""
    for line in page.splitlines():
        if heading := re.match(r"## (?:`(\w+)`|The top)", line):
            section = heading[1] or ""
        elif row := re.match(r"\| `(\w+)` \| .+ \| .* \| (.+) \|$", line):
            assert len(row[2]) > 8
            described.add(f"{section}.{row[1]}".lstrip("."))
    assert described - {"lora"} == keys(Recipe)


def test_the_list_names_every_recipe_for_fine_tuning(capsys):
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    readable = {
        "embedded",
        "t5-small-xsum",
        "t5-base-xsum",
        "flan-t5-small",
        "flan-t5-base",
        "t5-large-qlora",
        "own-data",
    }
    assert {path.removeprefix("recipes/").removesuffix(".yaml") for path in listed} == readable
    assert all(title for _, title in recipe_titles())


def test_check_looks_and_trains_nothing(tiny_recipe, tmp_path, capsys):
    output = tmp_path / "run"
    # flags may stand anywhere
    assert main([str(tiny_recipe), "training.batch_size=8", "--check", f"output={output}"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    # 64 tokens of prefix and document at the most; 40 training pairs, 24 validation pairs
    assert re.search(r"pairs 40 24", told)
    assert "560,256 parameters" not in told  # with the adapter's; the base alone has fewer
    assert re.search(r"551,552 parameters, 8,704 of them trained in 3 steps of 8 pairs", told), told
    assert "estimated" in told
    assert {path.name for path in tmp_path.iterdir()} == {"run.check"}
    assert {path.name for path in (tmp_path / "run.check").iterdir()} == {"data.md", "data.png"}
    assert (tmp_path / "run.check/data.png").read_bytes()[:4] == b"\x89PNG"


def test_dry_run_goes_the_whole_road_and_keeps_nothing(tiny_recipe, tmp_path, capsys):
    assert main(["--dry-run", str(tiny_recipe), f"output={tmp_path / 'run'}", "training.max_steps=500"]) == 0
    said = capsys.readouterr()
    assert "step 2 of 2" in said.err
    assert "nothing was kept" in said.out
    assert not list(tmp_path.iterdir())


def test_no_recipe_is_a_usage_error():
    done = subprocess.run([sys.executable, "-m", "finetune"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--list" in done.stderr


def test_the_memory_estimate_follows_what_a_step_keeps(tiny_recipe):
    """Counted on a real step: what autograd holds on to when the loss is there, by storage."""
    import torch

    from finetune.training.model import add_adapter, load_base

    recipe = read_recipe(tiny_recipe, ["training.precision=fp32", "training.batch_size=4"])
    network, _ = load_base(recipe.model)
    model = add_adapter(network, recipe.lora).train()
    own = {values.untyped_storage().data_ptr() for values in model.parameters()}
    held = {}

    def pack(values):
        if values.untyped_storage().data_ptr() not in own:
            held[values.untyped_storage().data_ptr()] = values.untyped_storage()
        return values

    ids = torch.ones((4, 60), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        short = torch.ones((4, 20), dtype=torch.long)
        model(input_ids=ids, attention_mask=ids, decoder_input_ids=short, labels=short, use_cache=False)
    logits = 4 * 4 * 20 * network.config.vocab_size
    real = sum(storage.nbytes() for storage in held.values())
    assert estimate(recipe, 60, 20).activations == pytest.approx(real + logits, rel=0.02)


def test_the_memory_estimate_grows_with_the_batch_and_shrinks_with_checkpointing(tiny_recipe):
    small, large, checkpointed = (
        estimate(read_recipe(tiny_recipe, ["training.precision=fp32", *overrides]), 64, 40)
        for overrides in (
            ["training.batch_size=4"],
            ["training.batch_size=16"],
            ["training.batch_size=16", "training.gradient_checkpointing=true"],
        )
    )
    assert 3.5 < large.activations / small.activations < 4.2
    assert checkpointed.activations < 0.9 * large.activations  # the logits stay
    assert small.weights == 4 * (small.parameters + small.trained)
