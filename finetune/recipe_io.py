"""Reads a recipe from YAML, applies overrides of the command line, and turns mistakes into one sentence."""

import difflib
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin

import yaml
from pydantic import ValidationError

from finetune.errors import UserError
from finetune.recipe import Recipe, Section

R = TypeVar("R", bound=Section)
BEAM_ONLY = ("length_penalty", "early_stopping")  # generation parameters that greedy search does not read


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that occurs twice in a mapping, of which PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_recipe(
    path: str | Path,
    overrides: Sequence[str] = (),
    schema: type[R] = Recipe,  # type: ignore[assignment]
) -> R:
    """Reads the recipe at `path` as a `schema` and applies the overrides, each of the form `section.key=value`.

    Files and folders are looked for as `resolve_paths` says. Raises UserError with one sentence that names the key at
    fault.
    """
    path = Path(path)
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise UserError(f"Recipe {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"Recipe {path} should hold sections such as model: and data:.")
    for override in overrides:
        _apply_override(tree, override)
    recipe = _validate({**tree, "output": tree.get("output") or f"artifacts/{path.stem}"}, schema)
    if isinstance(recipe, Recipe):
        return cast(R, resolve_paths(_without_unused_parameters(recipe), path.parent))
    return recipe


def resolve_paths(recipe: Recipe, near: Path) -> Recipe:
    """The recipe with the paths of its model, data and output as they are from here, `~` expanded.

    A relative path that does not exist here is looked for in the folder `near` and in those above it.
    """
    data, model = recipe.data, recipe.model
    paths = {} if data.name else {"train": _resolve(data.train, near)}
    if data.validation and not data.name:
        paths["validation"] = _resolve(data.validation, near)
    # Only a folder with a config.json is taken for a model: other names are looked for on the hub.
    name = str(Path(_resolve(f"{model.name}/config.json", near)).parent) if model.name else model.name
    return recipe.model_copy(
        update={
            "model": model.model_copy(update={"name": name if Path(name).is_dir() else model.name}),
            "data": data.model_copy(update=paths),
            "output": recipe.output and os.path.expanduser(recipe.output),
        }
    )


def _resolve(name: str, near: Path) -> str:
    path = os.path.expanduser(name)
    for folder in (Path(), near.resolve(), *near.resolve().parents):
        candidate = str(folder / path)
        if os.path.exists(candidate) or glob.glob(candidate):
            return candidate
    return path


def _without_unused_parameters(recipe: Recipe) -> Recipe:
    """The recipe without generation parameters that do nothing, which transformers refuses to save."""
    generation = recipe.generation
    unused = [name for name in BEAM_ONLY if getattr(generation, name) is not None]
    if not unused or (generation.num_beams or 1) > 1 or generation.mode == "extract":  # which reads length_penalty
        return recipe
    names = " and ".join(f"generation.{name}" for name in unused)
    print(f"{names} left out: without beams (generation.num_beams) nothing reads it.", file=sys.stderr)
    return recipe.model_copy(update={"generation": generation.model_copy(update=dict.fromkeys(unused))})


def parse_recipe(tree: dict[str, Any]) -> Recipe:
    """The recipe in a mapping, such as one that `model_dump` made. Raises UserError."""
    return _validate(tree, Recipe)


def _validate(tree: dict[str, Any], schema: type[R]) -> R:
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(_message(error, schema)) from error


def _apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets one `section.key=value` from the command line in `tree`."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"Override {override!r} should read section.key=value.")
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            raise UserError(f"Override {override!r}: {section} is not a section.")
    try:
        tree[last] = _read_value(text)
    except yaml.YAMLError as error:
        raise UserError(f"Override {override!r}: the value is not valid YAML.") from error


def _read_value(text: str) -> Any:
    """YAML's numbers, true, false, null, lists and quoted texts; every other text is itself, with any `#` and `: `."""
    closing = {"[": "]", "{": "}", "'": "'", '"': '"'}.get(text[:1])
    if closing and text.rstrip().endswith(closing):  # `[v2]/own.csv` is a path
        return yaml.safe_load(text)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, int | float | None) and "#" not in text else text


def _message(error: ValidationError, schema: type[Section]) -> str:
    """pydantic's first error as one sentence with the key's full name."""
    first = error.errors()[0]
    names, section = _locate(first["loc"], schema)
    key = ".".join(names)
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(names[-1], section.model_fields, n=1, cutoff=0.0)
        hint = ".".join([*names[:-1], nearest[0]])
        return f"Unknown key {key} in the recipe; the nearest valid one is {hint}."
    if first["type"] == "missing":
        return f"The recipe lacks the key {key}."
    message = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if not names:
        return f"The recipe: {message}."
    return f"Recipe key {key}: {message}, and it is {first['input']!r}."


def _locate(location: tuple[str | int, ...], schema: type[Section]) -> tuple[list[str], type[Section]]:
    """The names in `location` without what pydantic adds (the member of a union), and the section of the last one."""
    names: list[str] = []
    section = schema
    annotation: Any = schema
    for part in location:
        if get_origin(annotation) is UnionType:  # a section that may be null
            annotation = next(member for member in get_args(annotation) if member is not NoneType)
        if isinstance(annotation, type) and issubclass(annotation, Section):
            section = annotation
            field = section.model_fields.get(str(part))
            annotation = field.annotation if field else None
        elif get_origin(annotation) in (dict, list):
            annotation = get_args(annotation)[-1]
        else:
            break
        names.append(str(part))
    return names, section
