"""One running task a visitor and tab: a newer task, or the Stop button, ends the one before."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

import gradio as gr

from bento.page.html import status
from bento.page.messages import error_message
from bento.page.summarizing import Stopped

View = TypeVar("View")


class SessionTasks:
    """The running tasks of one tab of the page, by Gradio's session."""

    def __init__(self) -> None:
        self._stop_events: dict[str, asyncio.Event] = {}

    async def run(
        self,
        request: gr.Request,
        task: Callable[[asyncio.Event], AsyncGenerator[View, None]],
        status_view: Callable[[str], View],
    ) -> AsyncGenerator[View, None]:
        """Yields the views of `task`, which raises Stopped once its event is set.

        Every error ends as `status_view(html)`: a task that failed tells the visitor and takes nothing else with it.
        """
        with self._start(request.session_hash or "") as stop:
            try:
                async with contextlib.aclosing(task(stop)) as views:
                    async for view in views:
                        yield view
            except Stopped:
                if self._stop_events.get(request.session_hash or "") is stop:  # no newer task has taken over the page
                    yield status_view(status("Stopped."))
            except Exception as error:
                yield status_view(status(error_message(error), "error"))

    def stop(self, request: gr.Request) -> None:
        """Stops the visitor's task, if one is running."""
        self._stop(request.session_hash or "")

    def _stop(self, session: str) -> None:
        if session in self._stop_events:
            self._stop_events[session].set()

    @contextlib.contextmanager
    def _start(self, session: str) -> Iterator[asyncio.Event]:
        self._stop(session)
        stop = self._stop_events[session] = asyncio.Event()
        try:
            yield stop
        finally:
            if self._stop_events.get(session) is stop:
                del self._stop_events[session]
