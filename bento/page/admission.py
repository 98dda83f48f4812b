"""Admission: the page uses a small share of the engine, visitors in turn, and the API keeps the rest."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from bento.page.limits import MAX_WAITING_TEXTS, MAX_WAITING_TEXTS_PER_VISITOR
from precis.params import MAX_BEAMS

ENGINE_ROWS = MAX_BEAMS  # rows of the running batch for the page: the fewest that serve every number of beams


class AdmissionQueueFull(Exception):
    """Too many texts are waiting; the message is a sentence for the visitor."""


@dataclass(eq=False)
class Ticket:
    """One text's place in the queue; its work may start once `admitted` is set."""

    rows: int
    is_long: bool
    visitor: str
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


class AdmissionQueue:
    """A semaphore over `rows` of the engine's batch that serves the waiting visitors in turn.

    Long texts run one at a time and leave rows to short ones. For one event loop; not thread-safe.
    """

    def __init__(
        self,
        rows: int = ENGINE_ROWS,
        max_waiting: int = MAX_WAITING_TEXTS,
        max_waiting_per_visitor: int = MAX_WAITING_TEXTS_PER_VISITOR,
    ) -> None:
        self.rows, self._max_waiting, self._max_waiting_per_visitor = rows, max_waiting, max_waiting_per_visitor
        self.free_rows = rows
        self._waiting: dict[str, deque[Ticket]] = {}  # by visitor, in the order of their turns
        self._admitted: set[Ticket] = set()

    def enqueue(self, rows: int, visitor: str = "", is_long: bool = False) -> Ticket:
        """A ticket for a text that needs `rows` (a long one more than half of all). Raises AdmissionQueueFull."""
        if sum(map(len, self._waiting.values())) >= self._max_waiting:
            raise AdmissionQueueFull("Too many visitors are waiting; please try again in a minute.")
        if len(self._waiting.get(visitor, ())) >= self._max_waiting_per_visitor:
            raise AdmissionQueueFull("Too many of your texts are waiting; please try again in a minute.")
        ticket = Ticket(min(max(rows, self.rows // 2 + 1 if is_long else 1), self.rows), is_long, visitor)
        self._waiting.setdefault(visitor, deque()).append(ticket)
        self._admit_waiting()
        return ticket

    def ahead_of(self, ticket: Ticket) -> int:
        """The number of texts whose turn comes before that of `ticket`."""
        if ticket.visitor not in self._waiting or ticket not in self._waiting[ticket.visitor]:
            return 0
        turn = self._waiting[ticket.visitor].index(ticket)
        ahead, others_first = turn, True
        for visitor, tickets in self._waiting.items():
            if visitor == ticket.visitor:
                others_first = False
            else:
                ahead += min(len(tickets), turn + others_first)
        return ahead

    def release(self, ticket: Ticket) -> None:
        """Gives up a ticket's rows or its place. Call it when the work is done or given up; again does nothing."""
        if ticket in self._admitted:
            self._admitted.remove(ticket)
            self.free_rows += ticket.rows
        elif ticket in self._waiting.get(ticket.visitor, ()):
            self._waiting[ticket.visitor].remove(ticket)
            if not self._waiting[ticket.visitor]:
                del self._waiting[ticket.visitor]
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while (ticket := self._next()) and ticket.rows <= self.free_rows:
            tickets = self._waiting.pop(ticket.visitor)
            tickets.remove(ticket)
            if tickets:
                self._waiting[ticket.visitor] = tickets  # now the last in turn
            self.free_rows -= ticket.rows
            self._admitted.add(ticket)
            ticket.admitted.set()

    def _next(self) -> Ticket | None:
        """The first text in turn, but no long one beside another.

        Otherwise the order stays: if short texts could overtake, one that needs many rows might wait for ever.
        """
        long_runs = any(ticket.is_long for ticket in self._admitted)
        for tickets in self._waiting.values():
            for ticket in tickets:
                if not (ticket.is_long and long_runs):
                    return ticket
        return None
