"""Sentences for the visitor: what went wrong, what is going on, and how a summary was made."""

import logging

from bento.page.admission import AdmissionQueueFull
from bento.page.html import duration, plural
from bento.page.limits import MAX_TEXT_CHARACTERS
from bento.page.readers.errors import DocumentError
from bento.page.summarizing import Done, Reading, ReadingPart
from precis import EngineError
from precis.grounding.evidence import Evidence, Span

log = logging.getLogger("precis.page")

INTERNAL_ERROR = "Something went wrong here; the server's log has the details."
MANY_CHUNKS = 6  # a text of so many is worth a word about how it is read
MAX_NAMED_SPANS = 6  # unsupported words that are named in a sentence; the rest are counted


def error_message(error: Exception) -> str:
    """One sentence for `error`. One that is no mistake of the visitor's is logged with its traceback."""
    if isinstance(error, AdmissionQueueFull | DocumentError):
        return str(error)
    if isinstance(error, EngineError):
        message = str(error)
        return message[:1].upper() + message[1:]  # some begin with the name of a parameter
    log.error("The page failed at a text", exc_info=error)
    return INTERNAL_ERROR


def queue_position(ahead: int) -> str:
    """Where a text stands that waits for admission."""
    return "You are next; the engine is busy." if ahead == 0 else f"In line: {plural(ahead, 'text')} before yours."


def reading_progress(state: Reading) -> str:
    """What the engine is doing before the first words come."""
    if state.chunks < MANY_CHUNKS:
        return "Reading…"
    if state.summarized:
        return f"Reading a long text: {state.summarized} of {plural(state.chunks, 'chunk')} summarized…"
    return f"Reading about {state.chunks} chunks of a long text…"


def part_progress(state: ReadingPart) -> str:
    """How far the reading of a long document is."""
    done = f" {plural(state.chunks, 'chunk')} summarized." if state.chunks else ""
    return f"Reading part {state.number} of {state.parts} of a long document…{done}"


def summary_report(text: str, done: Done, waited: bool = False) -> str:
    """How long the summary is and took, which part of the text was read, or why the model did not read it."""
    summary = done.summary
    written, read = len(summary.text.split()), len(text.split())
    if summary.already_short:
        return "Already short: this text is its own summary."
    if summary.unsupported_language:
        return "The model has not learned the language of this text, so its beginning is shown."
    first_words = "" if summary.extracted else f"; the first after {duration(done.first_seconds)}"
    waiting = ", waiting included" if waited else ""
    sentences = [f"{plural(written, 'word')} from {read:,} in {duration(done.seconds)}{waiting}{first_words}."]
    if summary.chunks >= MANY_CHUNKS:
        sentences.append(
            f"The text was read in {summary.chunks} chunks, and the best sentences of the chunks were ranked once more."
            if summary.extracted
            else f"The text was summarized in {summary.chunks} chunks, and their summaries once more."
        )
    if summary.truncated_tokens:
        about = "about " if len(text) > MAX_TEXT_CHARACTERS else ""
        sentences.append(f"The last {about}{plural(summary.truncated_tokens, 'token')} of it were not read.")
    else:
        sentences.append("All of the text was read.")
    if summary.finish_reason == "length":
        sentences.append("The summary was cut at the longest length you allow.")
    return " ".join(sentences)


def grounding_report(evidence: Evidence) -> str:
    """How far the summary can be trusted to say what the text says, in a sentence or two."""
    grounding = evidence.grounding
    if grounding.verbatim:
        sentence = "Word for word from the text."
    elif grounding.seams:
        places = "two places" if len(grounding.seams) == 1 else f"{len(grounding.seams) + 1} places"
        sentence = f"Joined from {places} of the text: check that they belong together."
    elif grounding.novel:
        sentence = f"{plural(len(grounding.novel), 'word')} not in the text: check."
    else:
        sentence = "Its words are those of the text, in another order."
    return f"{sentence} {unsupported_report(evidence.unsupported)}".strip()


def trust_report(trust: float, *, extracted: bool) -> str:
    """What the bundle's certificate says of summaries with this much trust (docs/trust.md), in a sentence."""
    fault = "are clearly worse than the text's first sentence" if extracted else "fail an automatic check"
    if not trust:
        return f"Of summaries rated like this one, too many {fault} to promise anything."
    return f"Of summaries rated like this one, at most {1 - trust:.0%} {fault}."


def unsupported_report(unsupported: list[Span]) -> str:
    """The numbers and names of the summary that the text lacks, in a sentence; "" where there are none."""
    if not unsupported:
        return ""
    words = list(dict.fromkeys(span.text for span in unsupported))
    more = f" and {len(words) - MAX_NAMED_SPANS} more" if len(words) > MAX_NAMED_SPANS else ""
    return f"Not found in the text: {', '.join(words[:MAX_NAMED_SPANS])}{more}."
