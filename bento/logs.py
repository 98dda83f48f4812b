"""Logs: one JSON object a line with the request's id; never a text, a summary or an unknown address."""

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """`fields` of a record (a dict given as `extra`) stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = _where(record.exc_info[1])
        return json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in getattr(record, "fields", {}).items() if value is not None)
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        where = f"\n{_where(record.exc_info[1])}" if record.exc_info else ""
        return f"{time} {record.levelname.lower()} {record.getMessage()}{fields}{where}"


def _where(error: BaseException) -> str:
    """Type and place of an exception and its causes. Not its message, which may hold a user's text."""
    told = []
    seen: BaseException | None = error
    while seen is not None and len(told) < 5:
        frames = traceback.extract_tb(seen.__traceback__)[-8:]
        told.append(f"{type(seen).__name__} at " + " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames)))
        seen = seen.__cause__ or seen.__context__
    return "; from ".join(told)


def configure(form: str) -> None:
    """Gives all handlers that BentoML has set up our form, and our own loggers theirs."""
    formatter = JsonFormatter() if form == "json" else TextFormatter()
    loggers = [logging.getLogger(name) for name in ("bentoml", "uvicorn.error", "circus", "precis")]
    for logger in [logging.getLogger(), *loggers]:
        for handler in logger.handlers:
            handler.setFormatter(formatter)
    logging.captureWarnings(True)
    for name in ("precis", "py.warnings"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(formatter)
            logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
