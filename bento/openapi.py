"""The OpenAPI description of the service: BentoML's own knows nothing of our errors and has no examples."""

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from bento.schema import (
    BatchAnswer,
    BatchRequest,
    ErrorAnswer,
    SummarizeAnswer,
    SummarizeRequest,
    error_body,
)

REF = "#/components/schemas/{model}"
EXAMPLE = (
    "The council met on Tuesday. It agreed to mend the old bridge before the winter, at a cost of 2 million. "
    "Mayor Anna Bell said that lorries would go by the northern road until then."
)
REQUESTS = {
    SummarizeRequest: {"text": EXAMPLE, "max_new_tokens": 40},
    BatchRequest: {"texts": [EXAMPLE, ""], "max_new_tokens": 40},
}
ANSWER = {
    "summary": "The council agreed to mend the old bridge before the winter.",
    "model": "embedded",
    "input_tokens": 54,
    "output_tokens": 14,
    "truncated": False,
    "truncated_tokens": 0,
    "chunks": 1,
    "finish_reason": "end",
}
ERRORS = {
    400: ("The body is not a JSON object.", error_body("invalid_json", "The body should be a JSON object.")),
    401: (
        "Where the server asks for a key: there is none, or a wrong one.",
        error_body("no_key", "A valid API key is needed."),
    ),
    408: ("The body took too long to arrive.", error_body("timeout", "The body did not arrive within 30 s.")),
    413: ("The body is too large.", error_body("too_large", "The body is larger than 2,097,152 bytes.")),
    422: ("A field is wrong.", error_body("missing_field", "The field text is missing.", "text")),
    429: (
        "Too much work is waiting; Retry-After tells when to come back.",
        error_body("full", "Too much work is waiting; try again in 3 s."),
    ),
    500: (
        "Something went wrong in the server.",
        error_body("internal", "The summary failed; the server's log tells why."),
    ),
    503: ("The server starts or stops.", error_body("stopping", "The server stops; ask again.")),
    504: ("The summary was not ready in time.", error_body("timeout", "The summary was not ready in time.")),
}
STREAM = (
    'event: delta\ndata: {"text": "The council"}\n\n'
    'event: delta\ndata: {"text": " agreed to mend the old bridge."}\n\n'
    'event: done\ndata: {"summary": "The council agreed to mend the old bridge.", "model": "embedded", ...}\n\n'
)
EVENT = {
    "type": "object",
    "description": "One event; `data` is JSON.",
    "properties": {
        "event": {"enum": ["delta", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
RETRY = {"description": "Seconds after which to come back.", "schema": {"type": "integer", "minimum": 1}}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "Comes back in the answer's header of the same name and stands in the server's log. Where it is "
    "left out, or is no word of up to 128 letters, digits and _.:- signs, one is made up.",
    "schema": {"type": "string"},
}


@cache
def describe(keys: bool) -> dict[str, Any]:
    """OpenAPI 3.1; `keys` tells whether requests need one."""
    models = (SummarizeRequest, BatchRequest, SummarizeAnswer, BatchAnswer, ErrorAnswer)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    paths = {
        "/summarize": {
            "post": _work("summarize", "Summarize one text", SummarizeRequest, _json(SummarizeAnswer, ANSWER))
        },
        "/summarize_batch": {
            "post": _work(
                "summarize_batch",
                "Summarize up to 64 texts; a result or an error for each, in order",
                BatchRequest,
                _json(BatchAnswer, {"results": [ANSWER, error_body("invalid_field", "The text is empty.", "text")]}),
            )
        },
        "/summarize_stream": {
            "post": _work(
                "summarize_stream",
                "Summarize one text as server-sent events",
                SummarizeRequest,
                {"text/event-stream": {"schema": EVENT, "example": STREAM}},
                "Events: `delta` with `text`, whose joined values are the summary; then `done` with what POST "
                "/summarize answers, or `error`. Lines that begin with a colon say that the server is alive.",
            )
        },
        "/model": {
            "get": _read("model", "The bundle's manifest: base, data, ROUGE, parity, hashes", "application/json", keys)
        },
        "/livez": {"get": _read("livez", "200 while the process lives", "text/plain")},
        "/readyz": {"get": _read("readyz", "200 while requests are taken, else 503", "text/plain")},
        "/metrics": {"get": _read("metrics", "Metrics for Prometheus", "text/plain")},
    }
    paths["/readyz"]["get"]["responses"]["503"] = _error(503)
    components: dict[str, Any] = {"schemas": schemas["$defs"]}
    if keys:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path in ("/summarize", "/summarize_batch", "/summarize_stream", "/model"):
            for operation in paths[path].values():
                operation["security"] = [{"bearer": []}, {"key": []}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Precis", "version": "1", "description": "Summaries by a fine-tuned T5 on ONNX Runtime."},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


def _work(name: str, summary: str, model: type, content: dict[str, Any], description: str = "") -> dict[str, Any]:
    request = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": REQUESTS[model]}
    return {
        "operationId": name,
        "summary": summary,
        "description": description or f"{model.__doc__}",
        "parameters": [REQUEST_ID],
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": {"description": "Done.", "headers": _headers(), "content": content},
            **{str(status): _error(status) for status in ERRORS},
        },
    }


def _read(name: str, summary: str, media_type: str, keys: bool = False) -> dict[str, Any]:
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
    found = {"200": {"description": "Done.", "content": {media_type: {"schema": schema}}}}
    return {"operationId": name, "summary": summary, "responses": found | ({"401": _error(401)} if keys else {})}


def _json(model: type, example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example}}


def _error(status: int) -> dict[str, Any]:
    description, example = ERRORS[status]
    headers = _headers() | ({"Retry-After": RETRY} if status in (429, 503) else {})
    return {"description": description, "headers": headers, "content": _json(ErrorAnswer, example)}


def _headers() -> dict[str, Any]:
    return {"X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}}}
