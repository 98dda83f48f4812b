"""Cuts a text into sentences, by rules for English and its neighbours."""

import re
import unicodedata

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sen|Sens|Rep|Reps|Gov|Gen|Col|Lt|Sgt|Capt|Rev|Hon|St|Jr|Sr|Inc|Co|Corp|Ltd|No|Nos|Vol|vs"
    r"|etc|e\.g|i\.e|cf|al|approx|Fig|Figs|Eq|Eqs|Sec|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|a\.m|p\.m)"
    r"|\b[A-Z]|\b(?:[A-Z]\.)+[A-Z])\.$"
)
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])")


def sentences(text: str) -> list[str]:
    """The sentences of `text`; lines are sentence ends, abbreviations are not."""
    found = []
    for line in text.splitlines():
        line = " ".join(unicodedata.normalize("NFC", line).split())
        start = 0
        for match in _END.finditer(line):
            if not _ABBREVIATION.search(line[start : match.start()].rstrip("\"'”’)]")):
                found.append(line[start : match.end()].strip())
                start = match.end()
        if line[start:].strip():
            found.append(line[start:].strip())
    return found
