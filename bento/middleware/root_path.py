"""The path prefix under which a reverse proxy serves the service, whether the proxy strips it or not."""

from starlette.types import ASGIApp, Receive, Scope, Send


class StripRootPathMiddleware:
    """Takes the prefix off, so that the middlewares inside see the service's own paths."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = without_root_path(scope, self.root_path)
        await self.app(scope, receive, send)


class AddRootPathMiddleware:
    """Puts the prefix back as ASGI has it: in the path, and in `root_path`, from which apps make their addresses."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = self.root_path + scope["path"]
            raw_path = self.root_path.encode() + scope.get("raw_path", scope["path"].encode())
            scope = {**scope, "root_path": self.root_path, "path": path, "raw_path": raw_path}
        await self.app(scope, receive, send)


def without_root_path(scope: Scope, root_path: str) -> Scope:
    """The scope with a path that does not begin with `root_path`."""
    path = scope["path"]
    if not root_path or not (path == root_path or path.startswith(root_path + "/")):
        return scope
    raw_path = scope.get("raw_path", path.encode()).removeprefix(root_path.encode())
    return {**scope, "root_path": "", "path": path.removeprefix(root_path) or "/", "raw_path": raw_path or b"/"}
