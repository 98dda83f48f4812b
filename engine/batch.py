"""Decodes one batch of encoded texts to the end, each by its own settings."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engine.generation import Settings
from engine.model import Seq2SeqModel
from engine.search import Beam, Greedy, new_search


@dataclass(eq=False)
class Job:
    """One piece of text to decode. `grown` hears the tokens so far after each step; `gone` tells that nobody waits."""

    ids: list[int]
    settings: Settings
    gone: Callable[[], bool]
    grown: Callable[[list[int]], None] | None = None
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = ""


def run_batch(model: Seq2SeqModel, jobs: list[Job], stopped: Callable[[], bool]) -> None:
    """Fills in `tokens` and `finish_reason` of the jobs; those whose caller has gone leave at the next step."""
    searches = [new_search(job.settings) for job in jobs]
    hidden = [model.encode(job.ids) for job in jobs]
    rows = np.repeat(np.arange(len(jobs)), [search.rows for search in searches])
    logits, state = model.start(hidden, jobs[0].settings.start)
    if len(rows) > len(jobs):
        logits = logits[rows]
        state.select(rows)
    running = list(zip(jobs, searches, strict=True))
    while running and not stopped():
        tokens, parents = _advance(running, logits)
        keep = [not (search.finished or job.gone()) for job, search in running]
        for (job, search), kept in zip(running, keep, strict=True):
            if search.finished:
                job.tokens, job.finish_reason = search.tokens(), search.finish_reason
            elif kept and job.grown is not None:
                job.grown(search.tokens())
        if not all(keep):
            stay = np.repeat(keep, [search.rows for _, search in running])
            state.select(parents[stay])
            tokens = tokens[stay]
            running = [pair for pair, kept in zip(running, keep, strict=True) if kept]
        elif (parents != np.arange(len(parents))).any():
            state.reorder(parents)
        if running:
            logits = model.step(tokens, state)


def _advance(running: list[tuple[Job, Greedy | Beam]], logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Next tokens and parent rows of all searches, the rows counted over the whole batch."""
    tokens, parents, first = [], [], 0
    for _, search in running:
        chosen, parent = search.advance(logits[first : first + search.rows])
        tokens.append(chosen)
        parents.append(parent + first)
        first += search.rows
    return np.concatenate(tokens), np.concatenate(parents)
