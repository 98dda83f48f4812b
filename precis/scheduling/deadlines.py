"""The deadlines of requests, the earliest first."""

import heapq
import itertools
import time

from precis.request import Request


class Deadlines:
    """A heap that keeps no request alive which is done. Not thread-safe."""

    def __init__(self) -> None:
        # (deadline, order of arrival, request or nothing once it is done)
        self._heap: list[tuple[float, int, list[Request]]] = []
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, request: Request) -> None:
        """Watches the request's deadline, if it has one."""
        if request.deadline is None:
            return
        entry = [request]
        heapq.heappush(self._heap, (request.deadline, next(self._arrivals), entry))
        request.future.add_done_callback(lambda _: entry.clear())

    def pop_expired(self) -> list[Request]:
        """Removes and returns the unfinished requests whose deadline has passed; finished ones at the head go, too."""
        expired: list[Request] = []
        now = time.monotonic()
        while self._heap and (self._heap[0][0] <= now or not self._heap[0][2]):
            expired += heapq.heappop(self._heap)[2]
        return expired
