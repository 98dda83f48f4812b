"""The request that makes the same summary through the API, for a terminal and for Python."""

import json
import shlex
from urllib.parse import urlsplit

from precis import GenerationParams

KEYED = '    headers={"Content-Type": "application/json", "Authorization": f"Bearer {os.environ[\'PRECIS_API_KEY\']}"},'


def body(text: str, generation: GenerationParams) -> dict[str, object]:
    """The JSON of a request; what the bundle decides anyway is left out."""
    settings = {name: value for name, value in vars(generation).items() if value is not None}
    if settings["long_text"] == "split":
        del settings["long_text"]
    return {"text": text, **settings}


def as_curl(site: str, text: str, generation: GenerationParams, key: bool = False) -> str:
    """A command for a POSIX shell. `site` is the service's address without a slash at its end; where `key` is set, it
    takes the API key from the variable PRECIS_API_KEY."""
    data = json.dumps(body(text, generation), ensure_ascii=False)
    return "\n".join(
        [
            f"curl -s {shlex.quote(site + '/summarize')} \\",
            "  -H 'Content-Type: application/json' \\",
            *(['  -H "Authorization: Bearer $PRECIS_API_KEY" \\'] if key else []),
            f"  -d {shlex.quote(data)}",
        ]
    )


def as_python(site: str, text: str, generation: GenerationParams, key: bool = False) -> str:
    """A program for Python's own library; arguments as for `as_curl`."""
    fields = [f"    {name!r}: {value!r}," for name, value in body(text, generation).items()]
    return "\n".join(
        [
            "import json",
            *(["import os"] if key else []),
            "import urllib.request",
            "",
            "body = {",
            *fields,
            "}",
            "request = urllib.request.Request(",
            f"    {site + '/summarize'!r},",
            "    data=json.dumps(body).encode(),",
            '    headers={"Content-Type": "application/json"},' if not key else KEYED,
            ")",
            "with urllib.request.urlopen(request) as answer:",
            '    print(json.load(answer)["summary"])',
        ]
    )


def site_of(address: str) -> str:
    """The service's address as the visitor's browser knows it, out of that of the page; "" where it is none."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ui')}"
