"""Readiness and draining: 503 before the service is ready and after SIGTERM, and a list of what still runs."""

import asyncio
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from bento import metrics
from bento.errors import RESTART_SECONDS, ServiceError, shutting_down
from bento.middleware.paths import PAGE_PATH, SUMMARIZE_PATHS, route_label
from bento.process.drain import Lifecycle


class DrainMiddleware:
    """Registers each request's task with the lifecycle, which waits for them on SIGTERM, and refuses new work then."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self.app, self.lifecycle = app, lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self.app(scope, receive, send)
            return
        route = route_label(scope["path"])
        is_work = route in SUMMARIZE_PATHS
        tasks = self.lifecycle.requests if is_work else self.lifecycle.other_tasks
        tasks.add(task)
        try:
            if route == "/readyz" and not self.lifecycle.serving:
                headers = {"Retry-After": str(RESTART_SECONDS)}
                raise ServiceError(503, "not_ready", "The service is not ready.", headers=headers)
            if self.lifecycle.draining and (is_work or route == PAGE_PATH):
                metrics.rejections.labels("stopping").inc()
                raise shutting_down()
            await self.app(scope, receive, send)
        finally:
            tasks.discard(task)
            if is_work:
                self.lifecycle.last_request_ended = time.monotonic()
