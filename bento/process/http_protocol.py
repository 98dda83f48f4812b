"""uvicorn's HTTP protocol with bounds for headers, half-sent requests, slow readers and the number of connections.

httptools itself bounds neither the size nor the time of headers. Errors at this level have the service's form.
"""

import asyncio
import resource
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bento import metrics
from bento.errors import ServiceError

MAX_HEADER_BYTES = 32 << 10  # request line and headers, or trailers
MAX_HEADERS = 100
HEADER_SECONDS = 10.0  # from a connection, or the first byte of a further request, to the end of the headers
WRITE_SECONDS = 30.0  # without a client taking enough of its response for more to be sent, or for the end
MAX_CONNECTIONS = 4096
SPARE_FILES = 256  # of the process's limit, for all that is no connection

REFUSED = {
    400: ("bad_request", "The request is not valid HTTP."),
    408: ("timeout", "The request did not arrive in time."),
    431: (
        "headers_too_large",
        f"The request has more than {MAX_HEADERS} headers, or they are larger than {MAX_HEADER_BYTES:,} bytes.",
    ),
    501: ("bad_request", "WebSocket connections are not supported."),
    503: ("full", "Too many connections are open; try again."),
}


def connection_limit() -> int:
    """How many connections may be open: MAX_CONNECTIONS, or as many as the process may open files for.

    Raises the process's soft limit of open files as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MAX_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft - SPARE_FILES))


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Those that wait for their client are in `_waiting`, the one that has waited longest first.

    A connection waits for its client until a request has arrived, body included, and while the client does not read
    its response. At the limit of connections, the one that has waited longest is closed for a new one, so that slow
    clients keep nobody out. If none waits, the new one is refused.
    """

    max_connections: ClassVar[int] = MAX_CONNECTIONS
    _waiting: ClassVar[dict["BoundedHttpProtocol", None]] = {}  # ordered; of the whole process

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = 0  # bytes since the parser last finished headers, a part of a body or a request
        self._header_bytes = 0
        self._in_headers = True
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self._refuse(503)
                return
            longest._give_place()
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_headers()
        self._unparsed += len(data)
        super().data_received(data)
        # Not finished headers; trailers and chunk sizes, which the parser would collect without end, count as well.
        if self._unparsed > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_headers:
            return  # a trailer, which is no header: it must not add a key or an address to the request
        self._header_bytes += len(name) + len(value) + len(": \r\n")
        super().on_header(name, value)
        if self._are_headers_too_large():
            raise HeadersTooLarge

    def on_headers_complete(self) -> None:
        self._in_headers, self._unparsed = False, 0
        if self._are_headers_too_large():  # without any header, the address alone may be
            raise HeadersTooLarge
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if self.cycle is None or not self.cycle.response_complete:
            self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()
        elif not self.pipeline:
            self._waiting[self] = None

    def pause_writing(self) -> None:
        """Called by the transport when the client takes less than is sent."""
        super().pause_writing()
        self._waiting[self] = None
        self._start_write_timer()

    def resume_writing(self) -> None:
        """Called by the transport when the client has taken most of it."""
        super().resume_writing()
        self._stop_write_timer()
        if not self.cycle.response_complete:
            self._waiting.pop(self, None)

    def timeout_keep_alive_handler(self) -> None:
        """Called by uvicorn when an idle connection has had its time."""
        self._close()

    def handle_websocket_upgrade(self) -> None:
        """Called by uvicorn instead of starting a request."""
        self._refuse(501)

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is not HTTP, and where a callback above has raised."""
        self._refuse(431 if self._in_headers and self._are_headers_too_large() else 400)

    def _are_headers_too_large(self) -> bool:
        headers, url = self.headers or (), getattr(self, "url", b"")
        return len(headers) > MAX_HEADERS or self._header_bytes + len(url) > MAX_HEADER_BYTES

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEADER_SECONDS, self._refuse, 408)

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_write_timer(self) -> None:
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _close(self) -> None:
        """Closes the connection when all is sent, or when a client that does not read has had its time."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._waiting[self] = None
            self._start_write_timer()

    def _give_place(self) -> None:
        """Closes the connection at once, even if its client has not read all of the response."""
        if self.transport.get_write_buffer_size():
            self._waiting.pop(self, None)
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answers with an error and closes the connection.

        There is no answer in the middle of another one, nor where no byte of a request has come (an idle connection).
        """
        self._stop_waiting()
        if self.transport.is_closing():
            return
        metrics.rejections.labels("connection").inc()
        no_request = self.cycle is None or self.cycle.response_complete
        is_idle = status == 408 and no_request and not self._unparsed
        # A request of which the rest is missing, or wrong, has no response of the app yet.
        is_unfinished = not no_request and self.cycle.more_body and not self.cycle.response_started
        if not is_idle and (no_request or (is_unfinished and not self.pipeline)):
            type_, message = REFUSED[status]
            self.transport.write(_raw_response(ServiceError(status, type_, message)))
        if is_unfinished:
            self.cycle.disconnected = True  # the app may send nothing any more
        self._close()


class HeadersTooLarge(Exception):
    """Ends the parsing of a request; the parser hands it to uvicorn as its own error."""


def _raw_response(error: ServiceError) -> bytes:
    response = error.response()
    head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    headers = [*response.raw_headers, (b"connection", b"close")]
    return head + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + bytes(response.body)
