"""Writes docs/recipes.md: every key of a recipe, from the descriptions in finetune/recipe.py.

python -m finetune.reports.recipe_docs > docs/recipes.md
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from finetune.recipe import Recipe, Section

ROOT = Path(__file__).parents[2]

HEAD = """# Recipes

<!-- Written by `python -m finetune.reports.recipe_docs > docs/recipes.md`; a test holds that it is current. -->

A recipe is one YAML file that holds a whole run. An unknown key, a wrong type or an impossible value is told in one sentence
before anything is loaded, and every key can be set on the command line: `python -m finetune RECIPE section.key=value ...`.

```sh
python -m finetune --list                                  # the recipes there are
python -m finetune --check recipes/embedded.yaml           # counts, lengths, doubles, leaks, memory; nothing is trained
python -m finetune --dry-run recipes/embedded.yaml         # the whole road in two steps and eight documents, nothing kept
```

| recipe | what it is |
|---|---|
"""

OWN = """
## Own data

| `data.train` | what it is |
|---|---|
| `own.jsonl`, `own.json` | one object a line, or a list of objects |
| `own.csv` | with a header; commas, quotes and line breaks inside quotes are read |
| `own.parquet` | text columns |
| `folder` | `folder/documents/NAME.txt` and `folder/summaries/NAME.txt`, UTF-8, the same names in both |
| `train`, with `data.name: owner/set` | a split of a data set on the hub, at `data.revision`; where the set is a loading script, its Parquet branch is read |

Rows without a document or a summary are left out and counted. Without `data.validation` a tenth is held back by a hash of the
document, so that a document never stands on both sides and a longer file moves none to the other. Every run prints a report
(and writes it as `data.md` and `data.png`): lengths in tokens, how many texts are cut at the limits, documents that come again
or stand in both splits, and a guess at the language by its commonest words.

Limits: text columns only; a document is read up to `data.max_document_tokens` (16,384 at the most), a summary up to
`data.max_summary_tokens`, and both are counted where they are longer; data lies on disk as Arrow, not in memory, except the columns
of token lengths. A hundred pairs teach a manner, some thousands a subject; below a hundred validation pairs the intervals are
wide.

## What a run does

- It **resumes**: killed at any moment, the same command goes on from the last checkpoint (beside the output, in
  `.NAME.checkpoints`), with the losses it would have had. Another recipe, base or data set starts anew.
- It **keeps the best evaluation** by `training.metric`, and stops early where `training.patience` says so.
- It **logs** to TensorBoard (`tensorboard --logdir artifacts`), and to Weights & Biases and MLflow where they are installed;
  without `WANDB_API_KEY` the former writes offline.
- On **several GPUs**: `accelerate launch --multi_gpu --num_processes 4 -m finetune RECIPE`. `training.batch_size` is each device's.
- It **leaves** adapter/, merged/, README.md (the model's card), rouge.json, summaries.json (what base and fine-tuned model say of
  every validation document, beside the reference), samples.md, run.json, the data report and the curves.
- **Memory**: a batch that does not fit is answered with the size that does. `training.gradient_checkpointing`, `model.load_in_4bit`.
"""


def document() -> str:
    """The whole of docs/recipes.md."""
    recipes = "".join(f"| [{path.name}](../recipes/{path.name}) | {title} |\n" for path, title in recipe_titles())
    return HEAD + recipes + OWN + "".join(_section("", Recipe))


def recipe_titles() -> Iterator[tuple[Path, str]]:
    """The fine-tuning recipes in recipes/ with the first sentence of their first comment."""
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "model" in (yaml.safe_load(text) or {}):
            yield path, text.splitlines()[0].removeprefix("# ").split(". ")[0].rstrip(":.")


def _section(name: str, section: type[Section]) -> Iterator[str]:
    """Markdown of one section's keys, and of those below it."""
    below = []
    yield f"\n## {'`' + name + '`' if name else 'The top'}\n\n"
    yield "| key | values | default | meaning |\n|---|---|---|---|\n"
    for key, field in section.model_fields.items():
        inner = _inner(field.annotation)
        if inner:
            below.append((f"{name}.{key}".lstrip("."), inner))
            if not field.description:
                continue
        values = "a section" if inner else _values(field)
        yield f"| `{key}` | {values} | {_default(field)} | {field.description} |\n"
    for part in below:
        yield from _section(*part)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _inner(annotation: Any) -> type[Section] | None:
    return next(
        (member for member in _members(annotation) if isinstance(member, type) and issubclass(member, Section)), None
    )


def _values(field: FieldInfo) -> str:
    bounds = [_bound(rule) for rule in field.metadata if isinstance(rule, Ge | Gt | Le | Lt)]
    return " or ".join(_type(member) for member in _members(field.annotation)) + (
        f", {' and '.join(bounds)}" if bounds else ""
    )


def _type(member: Any) -> str:
    if get_origin(member) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(member))
    if get_origin(member) is list:
        return "list of text"
    if get_origin(member) is Annotated:
        return _type(get_args(member)[0])
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", type(None): "`null`"}
    return names[member]


def _bound(rule: Ge | Gt | Le | Lt) -> str:
    sign = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}[type(rule)]
    return f"{sign} {getattr(rule, type(rule).__name__.lower())}"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    return "" if isinstance(field.default, Section) else f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    print(document(), end="")
