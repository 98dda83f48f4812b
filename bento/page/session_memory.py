"""Frees what Gradio keeps of events and sessions: it would hold every text until the server ends.

Written for Gradio 6.31.0, which frees an event that has ended but has no public setting for sessions: `StateHolder`,
`pending_streams`, `pending_diff_streams`, `pending_messages_per_session` and `pending_event_ids_session` keep each one.
tests/bento/page/test_session_memory.py looks for the text of ended visits in all of the process's objects.
"""

import time
from collections import Counter
from collections.abc import Callable

import gradio as gr
from gradio.queueing import Event
from gradio.routes import App

SESSION_IDLE_SECONDS = 20.0  # without an open stream, after which a visit has ended; a tab holds one (the heartbeat)


class SessionMemory:
    """The sessions of the page and their events; `sweep` frees what has ended. For one event loop; not thread-safe.

    `on_end` is called with each session that has ended.
    """

    def __init__(self, page: gr.Blocks, app: App, on_end: Callable[[str], None]) -> None:
        self._page, self._app, self._on_end = page, app, on_end
        self._streams: Counter[str] = Counter()  # open responses by session
        self._last_seen: dict[str, float] = {}

    def opened(self, session: str) -> None:
        """A stream of the session was opened, or a request of it has begun."""
        self._streams[session] += 1
        self._last_seen[session] = time.monotonic()

    def closed(self, session: str) -> None:
        """Ends what `opened` began."""
        self._streams[session] -= 1
        self._last_seen[session] = time.monotonic()

    def unfinished(self) -> list[Event]:
        """The events that wait or run."""
        return list(self._page._queue.event_ids_to_events.values())

    async def sweep(self, idle_seconds: float = SESSION_IDLE_SECONDS) -> int:
        """Frees the sessions without a stream for `idle_seconds`; counts them."""
        now = time.monotonic()
        ended = [
            session
            for session, seen in self._last_seen.items()
            if self._streams[session] <= 0 and now - seen >= idle_seconds
        ]
        for session in ended:
            del self._last_seen[session], self._streams[session]
            await self._page._queue.clean_events(session_hash=session)  # one that runs ends at its next view
            self._on_end(session)
        self._free_sessions()
        return len(ended)

    def _free_sessions(self) -> None:
        """Forgets the sessions that have ended, and what is streamed where no event runs.

        Nobody reads the messages of an event that runs on. If they stayed, a stream that is opened late would wait for
        the last one for ever; without them it gets 404.
        """
        queue, states = self._page._queue, self._page.state_holder
        self._app.iterators_to_reset.intersection_update(queue.event_ids_to_events)
        busy = {event.session_hash for event in queue.event_ids_to_events.values()}
        for record, sessions in (
            (queue.pending_event_ids_session, self._last_seen.keys()),
            (queue.pending_messages_per_session, self._last_seen.keys()),
            (states.session_data, self._last_seen.keys()),
            (states.time_last_used, self._last_seen.keys()),
            (self._page.pending_streams, busy),
            (self._page.pending_diff_streams, busy),
        ):
            for session in set(record) - sessions:
                del record[session]
