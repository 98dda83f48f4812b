"""Logs: one JSON object a line with the request's id. They never hold a text, a summary or an unknown path."""

import json
import logging
import logging.config
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

MAX_CAUSES = 5  # exceptions of a chain that are logged
MAX_FRAMES = 8  # of each of them, the innermost

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `extra={"fields": {...}}` of a log call adds keys to it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
            "exception": _exception(record),
        }
        return json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line of text, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in getattr(record, "fields", {}).items() if value is not None)
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        exception = _exception(record)
        return f"{time} {record.levelname.lower()} {record.getMessage()}{fields}" + (
            f"\n{exception}" if exception else ""
        )


def _exception(record: logging.LogRecord) -> str | None:
    """Types and places of a record's exception and its causes. Not their messages, which may hold a user's text."""
    error = record.exc_info[1] if record.exc_info else None
    lines: list[str] = []
    while error is not None and len(lines) < MAX_CAUSES:
        frames = reversed(traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:])
        lines.append(f"{type(error).__name__} at " + " < ".join(f"{frame.filename}:{frame.lineno}" for frame in frames))
        error = error.__cause__ or error.__context__
    return "; from ".join(lines) or None


def configure(log_format: str) -> None:
    """Sends all logs of this process to stderr as `json` or `text`."""
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    logging.captureWarnings(True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"ours": {"()": formatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            # BentoML gives some of these handlers of its own.
            "loggers": {
                name: {"level": level, "handlers": [], "propagate": True}
                for name, level in {
                    "precis": "INFO", "bentoml": "INFO", "uvicorn.error": "ERROR", "circus": "WARNING"
                }.items()
            },
        }
    )  # fmt: skip
