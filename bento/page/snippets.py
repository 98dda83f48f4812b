"""The API request that repeats a summary, as a curl command and as a Python program."""

import json
import shlex
from urllib.parse import urlsplit

from precis import GenerationParams

PYTHON = """{imports}

body = {{
{fields}
}}
request = urllib.request.Request(
    {url!r},
    data=json.dumps(body).encode(),
    headers={{{headers}}},
)
with urllib.request.urlopen(request) as response:
    print(json.load(response)["summary"])"""


def request_body(text: str, params: GenerationParams) -> dict[str, object]:
    """The JSON object of the request, without what the bundle sets anyway."""
    return {"text": text, **params.model_dump(exclude_defaults=True)}


def as_curl(service: str, text: str, params: GenerationParams, needs_key: bool = False) -> str:
    """A command for a POSIX shell. `service` is the service's URL without a slash at its end; with `needs_key` the
    command reads the API key from the variable PRECIS_API_KEY."""
    lines = [f"curl -s {shlex.quote(service + '/summarize')}", "-H 'Content-Type: application/json'"]
    if needs_key:
        lines.append('-H "Authorization: Bearer $PRECIS_API_KEY"')
    lines.append(f"-d {shlex.quote(json.dumps(request_body(text, params), ensure_ascii=False))}")
    return " \\\n  ".join(lines)


def as_python(service: str, text: str, params: GenerationParams, needs_key: bool = False) -> str:
    """A program that needs the standard library only; arguments as for `as_curl`."""
    imports, headers = ["json", "urllib.request"], '"Content-Type": "application/json"'
    if needs_key:
        imports.insert(1, "os")
        headers += ', "Authorization": f"Bearer {os.environ[\'PRECIS_API_KEY\']}"'
    return PYTHON.format(
        imports="\n".join(f"import {name}" for name in imports),
        fields="\n".join(f"    {name!r}: {value!r}," for name, value in request_body(text, params).items()),
        url=service + "/summarize",
        headers=headers,
    )


def service_url(page_url: str) -> str:
    """The service's URL as the visitor's browser knows it, from that of the page; "" where it is no HTTP URL."""
    parts = urlsplit(page_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ui')}"
