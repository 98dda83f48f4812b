"""The worker process: `python -m bento.process.worker FD`. Loads the engine while BentoML is imported."""

import os
import signal
import socket
import sys

from bento.process.supervisor import AWAITED


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server takes it: no traceback for Ctrl-C
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
    from bento.process import loading
    from bento.process.lifecycle import lifecycle

    loading.begin()
    with socket.socket(fileno=os.dup(int(sys.argv[1]))) as listening:
        host, port = listening.getsockname()[:2]
    host = "localhost" if host in ("0.0.0.0", "::") else host
    lifecycle.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    # What BentoML's own supervisor starts.
    from _bentoml_impl.worker.service import main as serve

    serve(["bento.service:Summarizer", "--service-name", "precis", "--worker-id", "1", "--fd", sys.argv[1]])


if __name__ == "__main__":
    main()
