"""The worker process: loads the engine while BentoML is imported, then serves.

`python -m bento.process.worker LISTENING ALIVE` gets two file descriptors: the listening socket, and a pipe that ends
with the supervisor.
"""

import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from bento.process.supervisor import BACKLOG, HANDLED_SIGNALS, KILL_SECONDS

if TYPE_CHECKING:
    from bento.process.drain import Lifecycle

# Of an idle connection. Load balancers keep theirs for less (AWS and nginx 60 s, Traefik 90 s, Google 600 s): one that
# is closed while the next request is on its way is a 502 for a client.
KEEP_ALIVE_SECONDS = 620


def main() -> None:
    """Serves the service on the listening socket."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server handles it: no traceback for Ctrl-C
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to the supervisor as well, which then stops this
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    from bento.process.drain import lifecycle
    from bento.process.start import start_loading

    threading.Thread(target=_stop_with_supervisor, args=(int(sys.argv[2]), lifecycle), daemon=True).start()

    start_loading()
    listening = socket.socket(fileno=int(sys.argv[1]))
    lifecycle.address = _url(listening)

    import bentoml
    import uvicorn

    from bento.process.http_protocol import BoundedHttpProtocol, connection_limit

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
        proxy_headers=False,  # the middleware stack has them, for `bentoml serve` too
    )
    uvicorn.Server(config).run(sockets=[listening])


def _stop_with_supervisor(alive: int, lifecycle: "Lifecycle") -> None:
    """Stops this process when the supervisor has ended: nothing else would end it, and it would hold the port."""
    os.read(alive, 1)  # nothing is ever written
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(lifecycle.stop_seconds + KILL_SECONDS)
    os._exit(1)


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


if __name__ == "__main__":
    main()
