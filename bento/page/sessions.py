"""One running task a visitor and tab: a newer task, or the Stop button, ends the one before."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import gradio as gr

from bento.page.html import status
from bento.page.messages import error_message
from bento.page.summarizing import Stopped

View = TypeVar("View")


class SessionTasks:
    """The running tasks of one tab of the page, by Gradio's session."""

    def __init__(self) -> None:
        self._stop_events: dict[str | None, asyncio.Event] = {}

    async def run(
        self,
        request: gr.Request,
        task: Callable[[asyncio.Event], AsyncGenerator[View, None]],
        status_view: Callable[[str], View],
    ) -> AsyncGenerator[View, None]:
        """Yields the views of `task`, which raises Stopped once its event is set. Errors end as `status_view(html)`."""
        self.stop(request)
        session, stop = request.session_hash, asyncio.Event()
        self._stop_events[session] = stop
        try:
            async with contextlib.aclosing(task(stop)) as views:
                async for view in views:
                    yield view
        except Stopped:
            if self._stop_events[session] is stop:  # else the status line belongs to a newer task
                yield status_view(status("Stopped."))
        except Exception as error:
            yield status_view(status(error_message(error), "error"))
        finally:
            if self._stop_events.get(session) is stop:
                del self._stop_events[session]

    def stop(self, request: gr.Request) -> None:
        """Stops the visitor's task, if one is running."""
        if stop := self._stop_events.get(request.session_hash):
            stop.set()
