"""Generates docs/recipes.md from the descriptions in finetune/recipe.py and the recipes.

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

<!-- Written by `python -m finetune.reports.recipe_docs > docs/recipes.md`; a test checks that it is current. -->

A recipe is a YAML file that describes a run. Unknown keys, wrong types and values out of bounds are reported in one sentence before
anything is loaded. Every key can be set on the command line: `python -m finetune RECIPE section.key=value ...`.

```sh
python -m finetune --list                           # list the recipes
python -m finetune --check recipes/embedded.yaml    # show counts, lengths, duplicates, leaks and memory; train nothing
python -m finetune --dry-run recipes/embedded.yaml  # run every part on two steps and eight documents; keep nothing
python -m finetune push artifacts/embedded OWNER/NAME  # upload a run to a hub (HF_ENDPOINT, HF_TOKEN)
```

| recipe | what it trains |
|---|---|
"""

OWN_DATA = """
## Own data

| `data.train` | format |
|---|---|
| `own.jsonl`, `own.json` | one object per line, or a list of objects |
| `own.csv` | with a header; quoted values may hold commas, quotes and line breaks |
| `own.parquet` | text columns |
| `folder` | `folder/documents/NAME.txt` and `folder/summaries/NAME.txt`, UTF-8, the same names in both |
| `train`, with `data.name: owner/set` | a split of a data set on the hub at `data.revision`; a loading script is replaced by the hub's Parquet conversion |

Rows with an empty document or summary are left out and counted. Without `data.validation`, a tenth of the pairs is held back by a hash
of the document. So equal documents are always in the same split, and a document stays in its split when the file grows.

Every run prints a data report and writes it as `data.md` and `data.png`: lengths in tokens, texts longer than the limits, duplicate
documents, documents in both splits, and the language that py3langid identifies.

Limits: columns must hold text. Documents are read up to `data.max_document_tokens` (at most 16,384), summaries up to
`data.max_summary_tokens`; longer ones are truncated and counted. Data is memory-mapped from disk as Arrow, except the token lengths.
A hundred pairs teach a style, some thousands a subject. With fewer than a hundred validation pairs the ROUGE intervals are wide.

## What a run does

- It **resumes**. After a kill the same command continues from the last checkpoint (next to the output, in `.NAME.checkpoints`) and
  reaches the same losses. Another recipe, base model or data set starts from the beginning.
- It **keeps the best evaluation** by `training.metric`, and stops early if `training.patience` is set.
- It **logs** to TensorBoard (`tensorboard --logdir artifacts`), and to Weights & Biases and MLflow if they are installed. Without
  `WANDB_API_KEY`, Weights & Biases logs offline.
- It runs on **several GPUs**: `accelerate launch --multi_gpu --num_processes 4 -m finetune RECIPE`. `training.batch_size` counts per
  device.
- It **writes** adapter/, merged/, README.md (the model card), rouge.json, summaries.json (the summaries of base and fine-tuned model
  for every validation document, with the reference), samples.md, run.json, the data report, and the training curves.
- If a batch does not fit into **memory**, the error names a size that fits. `training.gradient_checkpointing` and
  `model.load_in_4bit` need less memory.
"""


def document() -> str:
    """The content of docs/recipes.md."""
    recipes = "".join(f"| [{path.name}](../recipes/{path.name}) | {title} |\n" for path, title in recipe_titles())
    return HEAD + recipes + OWN_DATA + "".join(_section("", Recipe))


def recipe_titles() -> Iterator[tuple[Path, str]]:
    """Paths of the fine-tuning recipes in recipes/, each with the first sentence of its first comment."""
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "model" in (yaml.safe_load(text) or {}):
            yield path, text.splitlines()[0].removeprefix("# ").split(". ")[0].rstrip(":.")


def _section(name: str, section: type[Section]) -> Iterator[str]:
    """Markdown tables of a section's keys and of the sections in it."""
    inner_sections = []
    yield f"\n## {'`' + name + '`' if name else 'Top level'}\n\n"
    yield f"{section.__doc__}\n\n| key | values | default | meaning |\n|---|---|---|---|\n"
    for key, field in section.model_fields.items():
        inner_section = _inner_section(field.annotation)
        if inner_section:
            inner_sections.append((f"{name}.{key}".lstrip("."), inner_section))
            if not field.description:
                continue
        values = "a section" if inner_section else _values(field)
        yield f"| `{key}` | {values} | {_default(field)} | {field.description} |\n"
    for inner_name, inner in inner_sections:
        yield from _section(inner_name, inner)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _inner_section(annotation: Any) -> type[Section] | None:
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
        return "required"
    return "" if isinstance(field.default, Section) else f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    print(document(), end="")
