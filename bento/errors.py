"""Error answers: a status, a type that programs can act on, and one sentence, always in the same JSON form."""

import codecs
import logging
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

from bento import metrics
from precis import (
    DeadlineExceeded,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationError,
    TextError,
    TooMuchWork,
)

log = logging.getLogger("precis.errors")

RESTART_SECONDS = 5  # Retry-After of a server that shuts down: by then it is expected to be replaced
MAX_FIELD_NAME = 64  # characters; a longer name of an unknown field is not repeated in the message


@dataclass(eq=False)
class ServiceError(Exception):
    """A request that is answered with an error.

    `type` is a word for programs, `message` a sentence for people, `field` the name of the request's field at fault.
    """

    status: int
    type: str
    message: str
    field: str | None = None
    headers: dict[str, str] | None = None

    def body(self) -> dict[str, Any]:
        """`{"error": {"type", "message", "field"?}}`"""
        error = {"type": self.type, "message": self.message}
        return {"error": error | {"field": self.field} if self.field else error}

    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.body(), self.status, self.headers)


def shutting_down() -> ServiceError:
    """The answer to requests that a stopping server no longer takes, or did not finish."""
    headers = {"Retry-After": str(RESTART_SECONDS)}
    return ServiceError(503, "stopping", "The server is shutting down; try again.", headers=headers)


def from_engine_error(error: EngineError) -> ServiceError:
    """The answer to a request that the engine refused or could not finish; counts it in the metrics."""
    match error:
        case GenerationError():
            return ServiceError(422, "invalid_field", str(error), error.field)
        case TextError():
            return ServiceError(422, "invalid_field", str(error), "text")
        case EngineFull():
            metrics.rejections.labels("full").inc()
            return ServiceError(429, "full", str(error), headers={"Retry-After": str(math.ceil(error.retry_after))})
        case TooMuchWork():
            metrics.rejections.labels("too_much_work").inc()
            return ServiceError(422, "too_much_work", str(error))
        case DeadlineExceeded():
            metrics.rejections.labels("timeout").inc()
            return ServiceError(504, "timeout", "The summary was not ready in time.")
        case EngineClosed():
            metrics.rejections.labels("stopping").inc()
            return shutting_down()
    return internal(error)


def from_exception(error: Exception) -> ServiceError:
    """The error for any exception of one text among several, or of a stream that has begun."""
    if isinstance(error, ServiceError):
        return error
    return from_engine_error(error) if isinstance(error, EngineError) else internal(error)


def internal(error: Exception) -> ServiceError:
    """The error for an unexpected exception, which is logged."""
    log.error("A request failed", exc_info=error)
    return ServiceError(500, "internal", "The summary failed; the server's log has the reason.")


def from_validation_error(error: ValidationError, body: bytes = b"") -> ServiceError:
    """The answer to a body that does not fit the schema: pydantic's first error, without the values that were sent."""
    if not _is_utf8(body):
        return ServiceError(400, "invalid_json", "The body is not in UTF-8, which JSON has to be.")
    if body.startswith(codecs.BOM_UTF8):
        return ServiceError(400, "invalid_json", "The body begins with a byte-order mark, which JSON must not have.")
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        reason = first["msg"].removeprefix("Invalid JSON: ")
        return ServiceError(400, "invalid_json", f"The body is not valid JSON: {reason}.")
    if first["type"] == "too_many_fields":
        return ServiceError(422, "unknown_field", "The body has more fields than any request has.")
    if not first["loc"]:
        return ServiceError(400, "invalid_json", "The body should be a JSON object.")
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        if not name or len(name) > MAX_FIELD_NAME or not name.isprintable():
            return ServiceError(422, "unknown_field", "The body has a field that no request has.")
        return ServiceError(422, "unknown_field", f"There is no field {name}.", name)
    if first["type"] == "missing":
        return ServiceError(422, "missing_field", f"The field {name} is missing.", name)
    reason = re.sub("^(Input|String|List) ", "", first["msg"])
    return ServiceError(422, "invalid_field", f"{name}: {reason}.", name)


def _is_utf8(body: bytes) -> bool:
    if b"\0" in body[:4]:  # ASCII in UTF-16 or UTF-32, which would pass
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
