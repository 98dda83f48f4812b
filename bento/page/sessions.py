"""One running task a visitor and tab: a newer task, or the Stop button, cancels the one before."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

import gradio as gr

from bento.page.item_queue import enqueue_all
from bento.page.messages import error_message

HEARTBEAT_SECONDS = 0.5  # the last view is repeated after so long: Gradio notices only then that a visitor has left

View = TypeVar("View")


class SessionTasks(Generic[View]):
    """The running tasks of one tab of the page, by Gradio's session."""

    def __init__(self) -> None:
        self._tasks: dict[str | None, asyncio.Task[None]] = {}

    async def run(
        self, request: gr.Request, views: AsyncGenerator[View, None], ended_early: Callable[[str, str], View]
    ) -> AsyncGenerator[View, None]:
        """Iterates over `views` in a task. After Stop or an error, `ended_early` makes the last view.

        Its arguments are a sentence and the kind of its status line.
        """
        self.stop(request)
        updates: asyncio.Queue[View | None] = asyncio.Queue()
        session, task = request.session_hash, enqueue_all(views, updates)
        self._tasks[session] = task
        view: View | None = None
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        view = await updates.get()
                        if view is None:
                            break
                if view is not None:
                    yield view
            if task.cancelled():
                if self._tasks.get(session) is task:  # else the tab shows a newer task by now
                    yield ended_early("Stopped.", "quiet")
            elif isinstance(error := task.exception(), Exception):
                yield ended_early(error_message(error), "error")
        finally:
            task.cancel()
            await asyncio.wait({task})
            if self._tasks.get(session) is task:
                del self._tasks[session]

    async def stop_on_click(self, request: gr.Request) -> None:
        """`stop`, in the event loop: Gradio would call it in a thread, from which a task must not be cancelled."""
        self.stop(request)

    def stop(self, request: gr.Request) -> None:
        """Cancels the visitor's task, if one is running."""
        if task := self._tasks.get(request.session_hash):
            task.cancel()
