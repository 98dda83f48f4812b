"""Part service: requests a second over HTTP with the service on the card, few new tokens each.

TensorRT-LLM's issue 16706 publishes 173.7, 257.2 and 335.4 requests a second for a T5 with 8, 32 and 64 clients and
about nine new tokens; neither the model's size nor the card is told, so these are a landmark and no comparison.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu import models
from benchmarks.gpu.parts import Unavailable
from benchmarks.gpu.sizes import Sizes

PUBLISHED = {"8": 173.7, "32": 257.2, "64": 335.4}
WARM_UP = 2.0  # seconds


def measure(sizes: Sizes, device: str, scratch: Path, keep: Callable) -> None:
    """Figures of each number of clients. Raises Unavailable without BentoML."""
    for package in ("bentoml", "pydantic_settings", "aiohttp"):
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"{package} is not installed, without which there is no service to ask.")
    from benchmarks.loads import closed
    from benchmarks.servers import Server

    folder = models.bundle(scratch, sizes, models.precisions(device)[0], device)
    variables = {
        "PRECIS_BUNDLE": str(folder),
        "PRECIS_DEVICE": device,
        "PRECIS_ROWS": str(sizes.rows),
        "PRECIS_PAGE": "false",
        "PRECIS_LOG_FORMAT": "text",
    }
    new, cores = sizes.answer, sorted(os.sched_getaffinity(0))

    def body(text: str) -> dict:
        return {"text": text, "max_new_tokens": new, "min_new_tokens": new, "num_beams": 1}

    server = Server("gpu-service", [sys.executable, "-m", "bento"], scratch, variables, cores[:-1] or cores)
    try:
        found = {"first_answer_s": round(server.wait("/summarize", body("w10 w11")), 1), "new_tokens": new}
        found |= {"bundle": folder.name, "published": PUBLISHED, "clients": {}}
        for clients in sizes.clients:
            asyncio.run(closed(server.url, body, clients, min(WARM_UP, sizes.seconds)))
            found["clients"][str(clients)] = asyncio.run(closed(server.url, body, clients, sizes.seconds))
            keep(found)
    finally:
        server.stop()
