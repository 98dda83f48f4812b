"""The API reference at /: HTML made from the OpenAPI description, without scripts or files of other hosts."""

import json
import re
import shlex
from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

from bento.icon import LINK

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
html { background: light-dark(#fffdf9, #14171a); color: light-dark(#23211d, #e9e5dc); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { padding: .8rem 1rem; white-space: pre-wrap; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .8rem 0 .2rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
td:first-child code { white-space: nowrap; }
h2 { margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: 0; } a { color: light-dark(#0e5a4c, #74cdb4); }
nav ul { padding-left: 1.2rem; }
@media (max-width: 40rem) {
  table, caption, tbody, tr, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { padding: .5rem 0; border-bottom: 1px solid #8884; } td { border: 0; padding: 0; }
  td:empty { display: none; } td:first-child code { white-space: normal; }
  td[data-label]::before { content: attr(data-label) ": "; opacity: .75; }
}
"""


class _Field(NamedTuple):
    name: str
    type: str
    default: str
    meaning: str


def render(api: dict[str, Any], address: str, page: bool, model_defaults: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        api: the OpenAPI description.
        address: the URL by which the reader reached the server.
        page: whether the Gradio page is served.
        model_defaults: the values of the served bundle for generation parameters that a request leaves out.
    """
    operations = [
        (path, method, operation) for path, methods in api["paths"].items() for method, operation in methods.items()
    ]
    contents = "".join(
        f'<li><a href="#{operation["operationId"]}"><code>{method.upper()} {path}</code></a> '
        f"{_text(operation['summary'])}</li>"
        for path, method, operation in operations
    )
    body = "".join(_operation(*operation, api, address, model_defaults) for operation in operations)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Precis API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{LINK}<style>{STYLE}</style></head><body><main><h1>Precis API</h1>"
        f"<p>{_text(api['info']['description'])} The description for programs is "
        '<a href="docs.json">docs.json</a> (OpenAPI 3.1).'
        + (' There is also <a href="ui/">a page to try it</a>.' if page else "")
        + f'</p><nav aria-label="Contents"><ul>{contents}</ul></nav>{body}</main></body></html>'
    )


def _operation(
    path: str, method: str, operation: dict[str, Any], api: dict[str, Any], address: str, model_defaults: dict[str, Any]
) -> str:
    parts = [f'<section><h2 id="{operation["operationId"]}"><code>{method.upper()} {path}</code></h2>']
    parts.append(f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        parts.append(_table("Request", _request_fields(_schema(content["schema"], api), model_defaults)))
        media_type, answer = next(iter(operation["responses"]["200"]["content"].items()))
        streams = media_type == "text/event-stream"
        if not streams:
            fields = list(_response_fields(_schema(answer["schema"], api), api))
            parts.append(_table("Response", [field._replace(default="") for field in fields]))
        command = (
            f"curl -s{'N' if streams else ''} {shlex.quote(address + path)} -H 'Content-Type: application/json' "
            f"-d {shlex.quote(json.dumps(content['example'], ensure_ascii=False))}"
        )
        parts.append(f"<h3>Example</h3><pre>{escape(command, quote=False)}</pre>")
        example = answer["example"]
        shown = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
        parts.append(f"<h3>Its answer</h3><pre>{escape(shown, quote=False)}</pre>")
        rows = "".join(
            f"<tr><td>{status}</td><td>{_text(response['description'])}</td></tr>"
            for status, response in operation["responses"].items()
            if status != "200"
        )
        parts.append(
            f"<details><summary>Errors</summary><table><tbody>{rows}</tbody></table>{_error(operation)}</details>"
        )
    return "".join([*parts, "</section>"])


def _error(operation: dict[str, Any]) -> str:
    example = operation["responses"]["422"]["content"]["application/json"]["example"]
    return f"<p>Every error has this form:</p><pre>{escape(json.dumps(example), quote=False)}</pre>"


def _table(caption: str, fields: list[_Field]) -> str:
    has_defaults = any(field.default for field in fields)
    head = ["field", "type", *(["default"] if has_defaults else []), "meaning"]
    rows = []
    for field in fields:
        default = f'<td data-label="default">{_text(field.default)}</td>' if field.default else "<td></td>"
        rows.append(
            f"<tr><td><code>{escape(field.name)}</code></td><td>{_text(field.type)}</td>"
            f"{default if has_defaults else ''}<td>{_text(field.meaning)}</td></tr>"
        )
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    return f"<table><caption>{caption}</caption><thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _request_fields(schema: dict[str, Any], model_defaults: dict[str, Any]) -> list[_Field]:
    """The fields, the required ones first."""
    required = schema.get("required", [])
    fields = []
    for name, field in sorted(schema["properties"].items(), key=lambda pair: pair[0] not in required):
        if name in required:
            default = "required"
        elif name in model_defaults:
            default = f"`{json.dumps(model_defaults[name])}`, the model's"
        else:
            default = "none" if field.get("default") is None else f"`{json.dumps(field['default'])}`"
        fields.append(_Field(name, _type(field), default, field.get("description", "")))
    return fields


def _response_fields(schema: dict[str, Any], api: dict[str, Any], prefix: str = "") -> Iterator[_Field]:
    """The fields, each followed by those of the object or the list of objects that it holds."""
    for name, field in schema["properties"].items():
        present = "" if name in schema.get("required", []) else " Not always present."
        types = [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]
        inner = types[0].get("items", types[0]) if len(types) == 1 else {}
        nested = _schema(inner, api) if "$ref" in inner else {}
        meaning = field.get("description") or nested.get("description", "")
        yield _Field(prefix + name, _type(field), "", meaning + present)
        if nested:
            mark = "[]." if "items" in types[0] else "."
            yield from _response_fields(nested, api, f"{prefix}{name}{mark}")


def _schema(reference: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = api["components"]["schemas"][reference["$ref"].rsplit("/", 1)[-1]]
    return schema


def _type(field: dict[str, Any]) -> str:
    """A type in words: "array of 1 to 64 strings", "integer, 1 to 512", "`\\"split\\"` or `\\"refuse\\"`"."""
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part.get("type") != "null")
    if "$ref" in field:
        return {"SummarizeResponse": "answer of POST /summarize", "ErrorResponse": "error"}.get(
            field["$ref"].rsplit("/", 1)[-1], "object"
        )
    if "enum" in field or "const" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        item = _type(field["items"] if "items" in field else field["prefixItems"][0]).partition(",")[0]
        low, high = field.get("minItems"), field.get("maxItems")
        number = f"{low:,} " if low == high and low else f"{low:,} to {high:,} " if high else ""
        return f"array of {number}" + (f"{item}s" if item.isalpha() else f"({item})")
    low, high = field.get("minimum"), field.get("maximum")
    bounds = f", {low:,} to {high:,}" if low is not None and high is not None else ""
    return f"{field.get('type', 'any')}{bounds}"


def _text(text: str) -> str:
    """`text` as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))
