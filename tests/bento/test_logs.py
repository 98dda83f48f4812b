"""The format of log lines."""

import json
import logging
import sys

from bento.logs import JsonFormatter, TextFormatter, request_id


def test_log_line_is_json_with_the_request_id_and_without_an_exceptions_text():
    request_id.set("r-1")
    try:
        raise ValueError("the secret text")
    except ValueError:
        record = logging.LogRecord("precis.x", logging.ERROR, "f", 1, "It %s", ("failed",), sys.exc_info())
    record.fields = {"status": 500}
    line = json.loads(JsonFormatter().format(record))
    request_id.set(None)
    assert (line["message"], line["level"], line["request_id"], line["status"]) == ("It failed", "error", "r-1", 500)
    assert "ValueError at" in line["exception"]
    assert "secret" not in json.dumps(line) + TextFormatter().format(record)
