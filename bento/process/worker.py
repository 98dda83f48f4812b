"""The worker process, `python -m bento.process.worker FD`: loads the engine while BentoML is imported, then serves."""

import signal
import socket
import sys

from bento.process.supervisor import BACKLOG, HANDLED_SIGNALS

KEEP_ALIVE_SECONDS = 5  # of an idle connection


def main() -> None:
    """Serves the service on the listening socket with the file descriptor that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server handles it: no traceback for Ctrl-C
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    from bento.process.drain import lifecycle
    from bento.process.start import start_loading

    start_loading()
    listening = socket.socket(fileno=int(sys.argv[1]))
    lifecycle.address = _url(listening)

    import bentoml
    import uvicorn

    from bento.process.http_protocol import BoundedHttpProtocol, connection_limit
    from bento.process.start import load_settings

    bentoml.server_context.worker_index = 1  # as BentoML's own supervisor numbers its workers
    from bento.service import Summarizer

    BoundedHttpProtocol.max_connections = connection_limit()
    config = uvicorn.Config(
        Summarizer.to_asgi(),  # type: ignore[attr-defined]  # BentoML ships no types
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        http=BoundedHttpProtocol,
        forwarded_allow_ips=load_settings().trusted_proxies,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


if __name__ == "__main__":
    main()
