"""A client of the HTTP API in plain Python: one text, a batch, and a stream.

    python examples/client.py [http://localhost:3000] [FILE]

It needs a running service (`make run` or `make serve`) and nothing but the standard library.
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARTICLE = Path(__file__).parent / "article.txt"
TIMEOUT = 60  # seconds
ATTEMPTS = 5


class ApiError(Exception):
    """An error answer of the service: its HTTP status, and `type` and `message` of its body."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(f"{status} {error['type']}: {error['message']}")
        self.status, self.type = status, error["type"]


class Client:
    """Calls one service. Every method raises ApiError for an error answer, and OSError or
    http.client.HTTPException where none comes, or not all of it."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Content-Type": "application/json"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"

    def summarize(self, text: str, **options: Any) -> dict[str, Any]:
        """The answer for one text; `options` are the fields of docs/api.md, such as num_beams=4."""
        with self._post("/summarize", {"text": text, **options}) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def summarize_batch(self, texts: list[str], **options: Any) -> list[dict[str, Any]]:
        """For each text, in order, its answer or {"error": ...}; at most 64 texts."""
        with self._post("/summarize_batch", {"texts": texts, **options}) as response:
            results: list[dict[str, Any]] = json.load(response)["results"]
        return results

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """The parts of one summary as they are written; joined, they are the summary."""
        with self._post("/summarize_stream", {"text": text, **options}) as response:
            for event, data in _events(response):
                if event == "error":
                    raise ApiError(response.status, data["error"])
                if event == "delta":
                    yield data["text"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The open response. A full or stopping service (429, 503) is asked again after its Retry-After."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), self.headers)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return urllib.request.urlopen(request, timeout=TIMEOUT)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or attempt == ATTEMPTS:
                    raise ApiError(error.code, _error(error)) from None
                time.sleep(float(error.headers.get("Retry-After", 1)))
        raise AssertionError("unreachable")


def _error(answer: urllib.error.HTTPError) -> dict[str, Any]:
    """What the service says is wrong; of an answer that is not its own, such as a proxy's page, the status line."""
    try:
        error: dict[str, Any] = json.load(answer)["error"]
    except (ValueError, LookupError, TypeError):
        return {"type": "http_error", "message": answer.reason}
    return error


def _events(lines: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data) of a stream of server-sent events; comments, which keep the connection alive, are left out."""
    event = ""
    for line in lines:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            event = value
        elif field == "data":
            yield event, json.loads(value)


def main(url: str = "http://localhost:3000", file: str = str(ARTICLE)) -> int:
    """Summarizes one file in three ways and prints the summaries."""
    client = Client(url)
    try:
        text = Path(file).read_text(encoding="utf-8")
        answer = client.summarize(text, evidence=True)
        print(answer["summary"])
        for sentence in answer["evidence"]["sentences"]:
            print(f"  supported by: {sentence['text']}")
        for result in client.summarize_batch(text.split("\n")[:3], num_beams=1):
            print("-", result["summary"] if "summary" in result else result["error"]["message"])
        for delta in client.stream(text):
            print(delta, end="", flush=True)
        print()
    except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
