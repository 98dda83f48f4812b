"""The API reference at /: HTML made from the OpenAPI description, without scripts or files of other hosts."""

import json
from html import escape
from typing import Any

from bento.icon import LINK

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8884; }
h2 { margin-top: 2.5rem; } a { color: LinkText; }
"""


def render(api: dict[str, Any], address: str, page: bool) -> str:
    """The page's HTML. `api` is the OpenAPI description, `address` the URL by which the reader reached the server,
    `page` whether the Gradio page is served."""
    parts = [
        f"<p>{escape(api['info']['description'])} The description for programs is "
        '<a href="docs.json">docs.json</a> (OpenAPI 3.1).'
        + (' There is also <a href="ui">a page to try it</a>.' if page else "")
        + "</p>"
    ]
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(path, method, operation, api, address))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Precis API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{LINK}<style>{STYLE}</style></head><body><main><h1>Precis API</h1>{''.join(parts)}</main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any], api: dict[str, Any], address: str) -> str:
    parts = [f'<h2 id="{operation["operationId"]}"><code>{method.upper()} {path}</code></h2>']
    parts.append(f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        schema = api["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]
        parts.append(_fields(schema))
        body = json.dumps(content["example"]).replace("'", "’")
        command = f"curl {address}{path} -H 'Content-Type: application/json' -d '{body}'"
        parts.append(f"<pre>{escape(command, quote=False)}</pre>")
        example = next(iter(operation["responses"]["200"]["content"].values()))["example"]
        shown = example if isinstance(example, str) else json.dumps(example, indent=1)
        parts.append(f"<pre>{escape(shown, quote=False)}</pre>")
        rows = "".join(
            f"<tr><td>{status}</td><td>{escape(response['description'])}</td></tr>"
            for status, response in operation["responses"].items()
            if status != "200"
        )
        parts.append(f"<details><summary>Errors</summary><table>{rows}</table>{_error(operation)}</details>")
    return "".join(parts)


def _error(operation: dict[str, Any]) -> str:
    example = operation["responses"]["422"]["content"]["application/json"]["example"]
    return f"<p>Every error has this form:</p><pre>{escape(json.dumps(example), quote=False)}</pre>"


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, field in sorted(schema["properties"].items(), key=lambda pair: pair[0] not in required):
        type_ = " or ".join(_type(part) for part in field.get("anyOf", [field]) if part.get("type") != "null")
        note = "" if name in required else " (optional)"
        rows.append(
            f"<tr><td><code>{name}</code></td><td>{escape(type_)}{note}</td>"
            f"<td>{escape(field.get('description', ''))}</td></tr>"
        )
    return f"<table><tr><th>field</th><th>type</th><th>meaning</th></tr>{''.join(rows)}</table>"


def _type(part: dict[str, Any]) -> str:
    if "enum" in part or "const" in part:
        return ", ".join(json.dumps(value) for value in part.get("enum", [part.get("const")]))
    low, high = part.get("minimum"), part.get("maximum")
    bounds = f" {low:g} to {high:g}" if low is not None and high is not None else ""
    return f"{part.get('type', 'any')}{bounds}"
