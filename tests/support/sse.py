"""Server-sent events."""

import json


def events(text: str) -> list[tuple[str, dict]]:
    """Server-sent events as a browser parses them: (name, data)."""
    parsed = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        if lines:
            fields = {name: value for name, _, value in lines}
            parsed.append((fields["event"], json.loads(fields["data"])))
    return parsed
