"""The page's own small share of the engine: visitors take their places in turn, and the API keeps the rest."""

import asyncio
from collections import deque

from precis.params import MAX_BEAMS

ROWS = MAX_BEAMS  # of the engine's running batch; the least with which any setting can be served
MAX_WAITING = 64  # places


class LineFull(Exception):
    """Too many are waiting; the text is a sentence for the visitor."""


class Place:
    """One text's place in the line. Leave it when the work is done or given up; leaving twice does no harm."""

    def __init__(self, line: "Line", rows: int) -> None:
        self.rows = rows
        self._line = line
        self._reached = asyncio.Event()

    @property
    def reached(self) -> bool:
        """Whether the work may begin."""
        return self._reached.is_set()

    @property
    def ahead(self) -> int:
        """How many wait in front of this place."""
        return self._line.waiting.index(self) if not self.reached else 0

    async def wait(self) -> None:
        """Returns when the work may begin."""
        await self._reached.wait()

    def reach(self) -> None:
        self._reached.set()

    def leave(self) -> None:
        """Frees the rows, or the place in the queue."""
        self._line.leave(self)


class Line:
    """First come, first served. Lives in one event loop; not thread-safe."""

    def __init__(self, rows: int = ROWS, most: int = MAX_WAITING) -> None:
        self.rows, self._most = rows, most
        self._free = rows
        self.waiting: deque[Place] = deque()
        self._working: set[Place] = set()

    def join(self, rows: int) -> Place:
        """The last place, for work that takes `rows` (at most all) of the share. Raises LineFull."""
        if len(self.waiting) >= self._most:
            raise LineFull("Too many visitors are waiting; please try again in a minute.")
        place = Place(self, min(rows, self.rows))
        self.waiting.append(place)
        self._serve()
        return place

    def leave(self, place: Place) -> None:
        """Takes `place` out of the line, wherever it stands."""
        if place in self._working:
            self._working.remove(place)
            self._free += place.rows
        elif place in self.waiting:
            self.waiting.remove(place)
        self._serve()

    def _serve(self) -> None:
        # Strictly in turn: a place that needs many rows is not overtaken for ever by small ones.
        while self.waiting and self.waiting[0].rows <= self._free:
            place = self.waiting.popleft()
            self._free -= place.rows
            self._working.add(place)
            place.reach()
