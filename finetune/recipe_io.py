"""Reads a recipe from YAML, applies overrides of the command line, and turns mistakes into one sentence."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError

from finetune.errors import UserError
from finetune.recipe import Recipe, Section

R = TypeVar("R", bound=Section)


def read_recipe(
    path: str | Path,
    overrides: Sequence[str] = (),
    schema: type[R] = Recipe,  # type: ignore[assignment]
) -> R:
    """Reads the recipe at `path` as a `schema` and applies the overrides, each of the form `section.key=value`.

    Raises UserError with one sentence that names the key at fault.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Recipe {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"Recipe {path} should hold sections such as model: and data:.")
    for override in overrides:
        _apply_override(tree, override)
    return _validate({**tree, "output": tree.get("output") or f"artifacts/{path.stem}"}, schema)


def parse_recipe(tree: dict[str, Any]) -> Recipe:
    """The recipe in a mapping, such as one that `model_dump` made. Raises UserError."""
    return _validate(tree, Recipe)


def _validate(tree: dict[str, Any], schema: type[R]) -> R:
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(_message(error, schema)) from error


def _apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets one `section.key=value` from the command line in `tree`. The value is read as YAML."""
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
        tree[last] = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise UserError(f"Override {override!r}: the value is not valid YAML.") from error


def _message(error: ValidationError, schema: type[Section]) -> str:
    """pydantic's first error as one sentence with the key's full name."""
    first = error.errors()[0]
    names, section = _resolve(first["loc"], schema)
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


def _resolve(location: tuple[str | int, ...], schema: type[Section]) -> tuple[list[str], type[Section]]:
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
