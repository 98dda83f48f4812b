"""Items of an asynchronous generator in a queue, so that what waits for them can wait for other things, too."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

Item = TypeVar("Item")


def enqueue_all(items: AsyncGenerator[Item, None], queue: asyncio.Queue[Item | None]) -> asyncio.Task[None]:
    """Starts a task that puts `items` into `queue` as they come, and None when they end, however that is."""

    async def put() -> None:
        async with contextlib.aclosing(items):
            async for item in items:
                queue.put_nowait(item)

    task = asyncio.create_task(put())
    task.add_done_callback(lambda _: queue.put_nowait(None))
    return task
