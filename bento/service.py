"""The BentoML service: `bentoml serve bento.service:Summarizer`."""

import asyncio
import gc
import logging
import math
import os
from pathlib import Path

import bentoml
from starlette.responses import JSONResponse

from bento.gate import Gate
from bento.schema import SummarizeAnswer, SummarizeRequest, error_body
from bento.site import make_site
from bento.state import set_engine
from engine import Engine, EngineError, EngineFull, Generation, GenerationError, TextError
from engine.bundle import open_bundle
from engine.model import check_device

log = logging.getLogger("bentoml.precis")

BUNDLE = os.environ.get("PRECIS_BUNDLE") or str(Path(__file__).parent.parent / "artifacts/embedded/bundle")
DEVICE = os.environ.get("PRECIS_DEVICE") or "cpu"
DEADLINE = 60.0  # seconds
WARM_UP = "The council met on Tuesday. It agreed to mend the bridge before the winter."

try:
    # BentoML's supervisor imports this module and then starts workers again and again, so a bundle that cannot be
    # served has to end the program here. The workers check what they load once more.
    open_bundle(BUNDLE)
    check_device(DEVICE)
except EngineError as refusal:
    raise SystemExit(f"Not started: {refusal}") from None


@bentoml.service(name="precis", traffic={"timeout": DEADLINE + 5})
@bentoml.asgi_app(make_site(), path="/")
class Summarizer:
    """Summarizes texts with a fine-tuned T5 on ONNX Runtime."""

    def __init__(self) -> None:
        self.engine = Engine.load(BUNDLE, device=DEVICE)
        self.engine.generate([WARM_UP], Generation(max_new_tokens=8))
        self.model = str(self.engine.bundle.manifest.get("name"))
        set_engine(self.engine)
        # What was loaded stays; collecting over it again and again costs tail latency.
        gc.freeze()

    @bentoml.api(route="/summarize")
    async def summarize(self, request: SummarizeRequest, /) -> SummarizeAnswer:
        """Summarize one text."""
        try:
            async with asyncio.timeout(DEADLINE):
                summary = await self.engine.summarize(request.text, request.generation())
        except GenerationError as error:
            return _error(422, "invalid_field", str(error), error.field)
        except TextError as error:
            return _error(422, "invalid_field", str(error), "text")
        except EngineFull as error:
            return _error(429, "full", str(error), headers={"Retry-After": str(math.ceil(error.retry_after))})
        except TimeoutError:
            return _error(504, "timeout", f"The summary was not ready within {DEADLINE:.0f} s.")
        except EngineError as error:
            log.error("A request failed: %s", error)
            return _error(500, "internal", "The summary failed; the server's log tells why.")
        return SummarizeAnswer.of(summary, self.model)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Ends the engine's thread."""
        self.engine.close()


def _error(
    status: int, kind: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    # A response passes through BentoML as it is; its own exceptions would lose the form.
    return JSONResponse(error_body(kind, message, field), status_code=status, headers=headers)


Summarizer.add_asgi_middleware(Gate)
