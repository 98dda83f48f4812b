"""The OpenAPI description: openapi.yaml with the schemas of the requests and responses.

BentoML's own description has neither our errors nor examples.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from bento.schema import BatchRequest, BatchResponse, ErrorResponse, SummarizeRequest, SummarizeResponse

DESCRIPTION_FILE = Path(__file__).with_name("openapi.yaml")
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
