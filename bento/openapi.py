"""The OpenAPI description of the service. BentoML's own has neither our errors nor examples."""

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bento.errors import ServiceError, shutting_down
from bento.schema import BatchRequest, BatchResponse, ErrorResponse, SummarizeRequest, SummarizeResponse

REF = "#/components/schemas/{model}"
EXAMPLE = (
    "The council met on Tuesday. It agreed to mend the old bridge before the winter, at a cost of 2 million. "
    "Mayor Anna Bell said that lorries would go by the northern road until then."
)
REQUESTS: dict[type[BaseModel], dict[str, Any]] = {
    SummarizeRequest: {"text": EXAMPLE, "max_new_tokens": 40},
    BatchRequest: {"texts": [EXAMPLE, ""], "max_new_tokens": 40},
}
RESPONSE = {
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
    400: (
        "The body is not a JSON object.",
        ServiceError(400, "invalid_json", "The body should be a JSON object."),
    ),
    401: (
        "The server requires an API key, and there is none or an unknown one.",
        ServiceError(401, "no_key", "A valid API key is needed."),
    ),
    408: (
        "The body took too long to arrive.",
        ServiceError(408, "timeout", "The body did not arrive within 30 s."),
    ),
    413: ("The body is too large.", ServiceError(413, "too_large", "The body is larger than 2,097,152 bytes.")),
    422: ("A field is wrong.", ServiceError(422, "missing_field", "The field text is missing.", "text")),
    429: (
        "Too much work is waiting; Retry-After tells when to try again.",
        ServiceError(429, "full", "Too much work is waiting; try again in 3 s."),
    ),
    500: (
        "Something went wrong in the server.",
        ServiceError(500, "internal", "The summary failed; the server's log has the reason."),
    ),
    503: ("The server is starting or shutting down.", shutting_down()),
    504: (
        "The summary was not ready in time.",
        ServiceError(504, "timeout", "The summary was not ready in time."),
    ),
}
EMPTY_TEXT = ServiceError(422, "invalid_field", "The text is empty.", "text")
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
RETRY_AFTER = {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "Is returned in the response's header of the same name and written to the server's log. If it is "
    "missing, or not 1 to 128 letters, digits and _.:- signs, the server makes one.",
    "schema": {"type": "string"},
}


@cache
def describe(keys: bool) -> dict[str, Any]:
    """The description as OpenAPI 3.1; `keys` tells whether requests need an API key."""
    models = (SummarizeRequest, BatchRequest, SummarizeResponse, BatchResponse, ErrorResponse)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    paths = {
        "/summarize": {
            "post": _summarize_operation(
                "summarize", "Summarize one text", SummarizeRequest, _json_content(SummarizeResponse, RESPONSE)
            )
        },
        "/summarize_batch": {
            "post": _summarize_operation(
                "summarize_batch",
                "Summarize up to 64 texts; a result or an error for each, in order",
                BatchRequest,
                _json_content(BatchResponse, {"results": [RESPONSE, EMPTY_TEXT.body()]}),
            )
        },
        "/summarize_stream": {
            "post": _summarize_operation(
                "summarize_stream",
                "Summarize one text as server-sent events",
                SummarizeRequest,
                {"text/event-stream": {"schema": EVENT, "example": STREAM}},
                "Events: `delta` with `text`, whose joined values are the summary; then `done` with the response of "
                "POST /summarize, or `error`. Lines that start with a colon only keep the connection open.",
            )
        },
        "/model": {
            "get": _read_operation(
                "model", "The bundle's manifest: base model, data, ROUGE, parity, hashes", "application/json", keys
            )
        },
        "/livez": {"get": _read_operation("livez", "200 while the process is alive", "text/plain")},
        "/readyz": {"get": _read_operation("readyz", "200 while requests are accepted, else 503", "text/plain")},
        "/metrics": {"get": _read_operation("metrics", "Metrics for Prometheus", "text/plain")},
    }
    paths["/readyz"]["get"]["responses"]["503"] = _error_response(503)
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


def _summarize_operation(
    name: str, summary: str, model: type[BaseModel], content: dict[str, Any], description: str = ""
) -> dict[str, Any]:
    request = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": REQUESTS[model]}
    return {
        "operationId": name,
        "summary": summary,
        "description": description or f"{model.__doc__}",
        "parameters": [REQUEST_ID],
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": {"description": "Success.", "headers": _headers(), "content": content},
            **{str(status): _error_response(status) for status in ERRORS},
        },
    }


def _read_operation(name: str, summary: str, media_type: str, keys: bool = False) -> dict[str, Any]:
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
    responses = {"200": {"description": "Success.", "content": {media_type: {"schema": schema}}}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": responses | ({"401": _error_response(401)} if keys else {}),
    }


def _json_content(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example}}


def _error_response(status: int) -> dict[str, Any]:
    description, error = ERRORS[status]
    headers = _headers() | ({"Retry-After": RETRY_AFTER} if status in (429, 503) else {})
    return {"description": description, "headers": headers, "content": _json_content(ErrorResponse, error.body())}


def _headers() -> dict[str, Any]:
    return {"X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}}}
