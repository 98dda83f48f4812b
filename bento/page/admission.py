"""Admission: the page uses a small share of the engine, first come, first served, and the API keeps the rest."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from bento.page.limits import MAX_WAITING_TEXTS
from precis.params import MAX_BEAMS

ENGINE_ROWS = MAX_BEAMS  # rows of the running batch for the page: the fewest that serve every number of beams


class AdmissionQueueFull(Exception):
    """Too many texts are waiting; the message is a sentence for the visitor."""


@dataclass(eq=False)
class Ticket:
    """One text's place in the queue; its work may start once `admitted` is set."""

    rows: int
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


class AdmissionQueue:
    """A first-come, first-served semaphore over `rows` of the engine's batch. For one event loop; not thread-safe."""

    def __init__(self, rows: int = ENGINE_ROWS, max_waiting: int = MAX_WAITING_TEXTS) -> None:
        self.rows, self._max_waiting = rows, max_waiting
        self.free_rows = rows
        self._waiting: deque[Ticket] = deque()
        self._admitted: set[Ticket] = set()

    def enqueue(self, rows: int) -> Ticket:
        """A ticket for work that needs `rows` (capped at all of the share). Raises AdmissionQueueFull."""
        if len(self._waiting) >= self._max_waiting:
            raise AdmissionQueueFull("Too many visitors are waiting; please try again in a minute.")
        ticket = Ticket(min(rows, self.rows))
        self._waiting.append(ticket)
        self._admit_waiting()
        return ticket

    def ahead_of(self, ticket: Ticket) -> int:
        """The number of texts that are admitted before the one of `ticket`."""
        return self._waiting.index(ticket) if ticket in self._waiting else 0

    def release(self, ticket: Ticket) -> None:
        """Gives up a ticket's rows or its place. Call it when the work is done or given up; again does nothing."""
        if ticket in self._admitted:
            self._admitted.remove(ticket)
            self.free_rows += ticket.rows
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        # Strictly in order: small texts that overtook a large one could keep it waiting for ever.
        while self._waiting and self._waiting[0].rows <= self.free_rows:
            ticket = self._waiting.popleft()
            self.free_rows -= ticket.rows
            self._admitted.add(ticket)
            ticket.admitted.set()
