"""The requests that the page shows as code, run for real."""

import json
import subprocess
import sys

import pytest

from bento.page import snippets
from precis import GenerationParams

TEXT = 'It\'s "quoted" $HOME `x` \\n\n– ünï – <script>alert(2)</script> & ${value} {{value}}.'


def run_program_until_request(program: str, expression: str, **options) -> str:
    """What the snippet's program prints for `expression`, without sending its request."""
    code = program[: program.index("with urllib")] + f"print({expression})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options).stdout


def test_snippets_send_what_the_page_was_asked(tmp_path):
    """A stand-in for curl prints the data it is given; the Python program prints its request."""
    params = GenerationParams(num_beams=3, long_text="truncate")
    expected = {"text": TEXT, "num_beams": 3, "long_text": "truncate"}
    (tmp_path / "curl").write_text('#!/bin/sh\nprintf %s "$6"\n')
    (tmp_path / "curl").chmod(0o755)
    command = snippets.as_curl("http://localhost:3000", TEXT, params)
    done = subprocess.run(["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True)
    assert json.loads(done.stdout) == expected
    program = snippets.as_python("http://localhost:3000", TEXT, params)
    url, body = run_program_until_request(program, "request.full_url, request.data.decode()").split(" ", 1)
    assert (url, json.loads(body)) == ("http://localhost:3000/summarize", expected)


def test_snippets_name_the_api_key_where_the_service_needs_one():
    assert '-H "Authorization: Bearer $PRECIS_API_KEY"' in snippets.as_curl("", "x", GenerationParams(), needs_key=True)
    program = snippets.as_python("http://localhost:3000", "x", GenerationParams(), needs_key=True)
    header = run_program_until_request(program, "request.get_header('Authorization')", env={"PRECIS_API_KEY": "k"})
    assert header.strip() == "Bearer k"


@pytest.mark.parametrize(
    ("page_url", "service_url"),
    [
        ("http://localhost:3000/ui", "http://localhost:3000"),
        ("http://localhost:3000/ui/?text=a&b#c", "http://localhost:3000"),
        ("https://example.org/apps/precis/ui/", "https://example.org/apps/precis"),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_service_url_is_the_one_the_visitors_browser_knows(page_url, service_url):
    assert snippets.service_url(page_url) == service_url
