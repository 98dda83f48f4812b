"""The OpenAPI description: openapi.yaml with the schemas of the requests and responses.

BentoML's own description has neither our errors nor examples.
"""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from bento.schema import BatchRequest, BatchResponse, ErrorResponse, SummarizeRequest, SummarizeResponse
from precis import Engine, EngineError

DESCRIPTION_FILE = Path(__file__).with_name("openapi.yaml")
EXAMPLE_SECONDS = 10.0  # for the answer to the example; the server may be busy
MODELS = (SummarizeRequest, BatchRequest, SummarizeResponse, BatchResponse, ErrorResponse)


@cache
def describe(keys: bool) -> dict[str, Any]:
    """The description as OpenAPI 3.1; `keys` tells whether requests need an API key."""
    api: dict[str, Any] = yaml.safe_load(DESCRIPTION_FILE.read_text(encoding="utf-8"))
    del api["x-shared"]
    _, schemas = models_json_schema(
        [(model, "validation") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    api["components"]["schemas"] = schemas["$defs"]
    if keys:
        api["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path in api["paths"].values():
            for operation in path.values():
                if "401" in operation["responses"]:
                    operation["security"] = [{"bearer": []}, {"key": []}]
    return api


async def answer_example(engine: Engine) -> dict[str, Any] | None:
    """The answer of the served model to the description's example; None if the engine has none to give at present."""
    content = describe(False)["paths"]["/summarize"]["post"]["requestBody"]["content"]["application/json"]
    request = SummarizeRequest.model_validate(content["example"])
    try:
        summary = await engine.summarize(request.text, request.generation_params(), timeout=EXAMPLE_SECONDS)
    except EngineError:
        return None
    return SummarizeResponse.from_summary(summary, str(engine.bundle.manifest.name), None).as_json()


def with_answer(api: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A copy of the description whose examples have `answer`, see `answer_example`."""
    api = copy.deepcopy(api)

    def content(path: str, media_type: str) -> dict[str, Any]:
        return api["paths"][path]["post"]["responses"]["200"]["content"][media_type]

    content("/summarize", "application/json")["example"] = answer
    batch = content("/summarize_batch", "application/json")
    batch["example"] = {"results": [answer, *batch["example"]["results"][1:]]}
    events = (("delta", {"text": answer["summary"]}), ("done", answer))
    content("/summarize_stream", "text/event-stream")["example"] = "".join(
        f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n" for name, data in events
    )
    return api
